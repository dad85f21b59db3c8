// reason.go: the values that the labels hop and reason may have. They are closed sets, so that no service can make series without end.
package metrics

import (
	"slices"

	"probe/hops"
	"probe/probe/agent/state"
)

// other stands for a reason or a hop that is not known.
const other = "other"

func reasonsOf(rules []hops.Rule) map[string]string {
	out := map[string]string{}
	for _, id := range []string{state.UnexpectedResponse, state.TooSlow, state.BadSettings, state.NoCause} {
		out[id] = id
	}
	for _, r := range rules {
		out[r.ID] = r.ID
	}
	return out
}

func (m *Metrics) known(reason string) string {
	if id, ok := m.reasons[reason]; ok {
		return id
	}
	return other
}

func knownHop(h hops.Hop) hops.Hop {
	if h == "" || slices.Contains(hops.All(), h) {
		return h
	}
	return other
}
