//go:build !race

package paste

// slack is how much more heap than promised may be taken: none.
const slack = 1
