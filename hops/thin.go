// thin.go: long logs made short before rules read them: the same line a thousand times says no more than three.
package hops

// keepAlike is how many lines of one shape are kept of a log: the first, and the last two.
const keepAlike = 3

// thin keeps of the lines of each log, in their order, the first and the last two of each shape.
func thin(lines []Line) []Line {
	if len(lines) < 500 {
		return lines
	}
	type log struct {
		pod, container string
		previous       bool
		shape          uint64
	}
	last := map[log][keepAlike]int{} // first, last but one, last; each plus one
	for i := range lines {
		l := &lines[i]
		k := log{l.Pod, l.Container, l.Previous, shape(l.Text)}
		at := last[k]
		if at[0] == 0 {
			at[0] = i + 1
		} else {
			at[1], at[2] = at[2], i+1
		}
		last[k] = at
	}
	keep := make([]bool, len(lines))
	for _, at := range last {
		for _, i := range at {
			if i > 0 {
				keep[i-1] = true
			}
		}
	}
	var out []Line
	for i := range lines {
		if keep[i] {
			out = append(out, lines[i])
		}
	}
	return out
}

// shape is a hash of a line in which every word that holds a digit counts as the same: times, ports, ids and counts (FNV-1a).
func shape(s string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h, word, digit := uint64(offset), uint64(offset), false
	end := func() {
		if digit {
			word = offset
		}
		h = (h ^ word) * prime
		word, digit = offset, false
	}
	for i := range len(s) {
		c := s[i]
		if c == ' ' || c == ':' || c == '"' || c == '=' || c == ',' || c == '/' {
			end()
			continue
		}
		digit = digit || c >= '0' && c <= '9'
		word = (word ^ uint64(c)) * prime
	}
	end()
	return h
}
