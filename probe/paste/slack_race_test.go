//go:build race

package paste

// slack is how much more heap the race detector's slower collection may take.
const slack = 2
