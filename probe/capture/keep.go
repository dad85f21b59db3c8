// keep.go: which lines of a long log are kept: the first, the last, and those between that look telling.
package capture

import (
	"strconv"
	"strings"

	"probe/hops"
)

// keeper takes a log line by line in bounded memory.
type keeper struct {
	first, last, telling int // how many to keep of each
	head, middle         []hops.Line
	ring                 []hops.Line
	next                 int // where the oldest line of a full ring stands
}

func (k *keeper) add(l hops.Line) {
	switch {
	case len(k.head) < k.first:
		k.head = append(k.head, l)
	case len(k.ring) < k.last:
		k.ring = append(k.ring, l)
	default:
		old := k.ring[k.next]
		if len(k.middle) < k.telling && telling(old.Text) {
			k.middle = append(k.middle, old)
		}
		k.ring[k.next] = l
		k.next = (k.next + 1) % k.last
	}
}

// lines gives what was kept, in order.
func (k *keeper) lines() []hops.Line {
	out := make([]hops.Line, 0, len(k.head)+len(k.middle)+len(k.ring))
	out = append(append(out, k.head...), k.middle...)
	return append(append(out, k.ring[k.next:]...), k.ring[:k.next]...)
}

// telling says whether a line speaks of something going wrong.
func telling(s string) bool {
	low := strings.ToLower(s)
	for _, word := range [...]string{"error", "fail", "exception", "traceback", "fatal", "panic", "warn", "denied", "refused", "timed out", "timeout",
		"unable", "cannot", "killed", "unauthorized", "forbidden", "not found", "no such", "invalid", "out of memory"} {
		if strings.Contains(low, word) {
			return true
		}
	}
	return false
}

// A line of this form stands where lines were left out, so that the numbers of the lines behind it stay true.
const (
	leftOutBefore = "# probe: "
	leftOutAfter  = " lines left out"
)

func leftOut(n int) string { return leftOutBefore + strconv.Itoa(n) + leftOutAfter }

// wasLeftOut reads such a line.
func wasLeftOut(text string) (n int, ok bool) {
	text, ok = strings.CutPrefix(text, leftOutBefore)
	if !ok {
		return 0, false
	}
	text, ok = strings.CutSuffix(text, leftOutAfter)
	n, err := strconv.Atoi(text)
	return n, ok && err == nil && n > 0 && n < 1<<40
}
