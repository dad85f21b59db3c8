// status.go: lists of HTTP statuses: "200", "200,404", "2xx".
package settings

import (
	"fmt"
	"strconv"
	"strings"
)

// span is a range of statuses, ends included.
type span struct{ from, to int }

// statuses reads a list; of an empty one it gives nil. Those below 200 are no answers (RFC 9110, 15.2).
func statuses(list string) ([]span, error) {
	if list == "" {
		return nil, nil
	}
	wrong := fmt.Errorf("give statuses from 200 to 599 or classes of them with commas between, as in 200,404 or 2xx, in at most %d bytes", maxStatuses)
	if len(list) > maxStatuses {
		return nil, wrong
	}
	var out []span
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if len(one) != 3 {
			return nil, wrong
		}
		if class := one[0]; strings.EqualFold(one[1:], "xx") && class >= '2' && class <= '5' {
			from := int(class-'0') * 100
			out = append(out, span{from, from + 99})
			continue
		}
		n, err := strconv.ParseUint(one, 10, 16)
		if err != nil || n < 200 || n > 599 {
			return nil, wrong
		}
		out = append(out, span{int(n), int(n)})
	}
	return out, nil
}

func contains(list []span, status int) bool {
	for _, s := range list {
		if s.from <= status && status <= s.to {
			return true
		}
	}
	return false
}
