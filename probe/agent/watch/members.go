// members.go: which of several agents probes a service.
package watch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"probe/hops"
)

// maxMembers bounds the agents that share services.
const maxMembers = 1000

// Members are the agents that share services, and which of them this one is.
type Members struct {
	self string
	all  []string // sorted, self among them
}

// Fixed reads "I/N": this is the I-th of N agents, counted from 0 as the pods of a StatefulSet are.
func Fixed(s string) (Members, error) {
	i, n, _ := strings.Cut(s, "/")
	index, err := strconv.Atoi(i)
	count, err2 := strconv.Atoi(n)
	if err != nil || err2 != nil || index < 0 || index >= count || count > maxMembers {
		return Members{}, fmt.Errorf("shard %q: write I/N with 0 <= I < N <= %d, as in 0/3, or auto", s, maxMembers)
	}
	m := Members{self: strconv.Itoa(index)}
	for k := range count {
		m.all = append(m.all, strconv.Itoa(k))
	}
	return m, nil
}

// Owns says whether this agent probes the service.
func (m Members) Owns(ref hops.Ref) bool { return m.owner(ref) == m.self }

// Names are the names of all agents.
func (m Members) Names() []string { return slices.Clone(m.all) }

// owner is the agent with the highest weight for the service (rendezvous hashing): when an agent comes or goes, only its own services move. A weight
// is the 64-bit FNV-1a hash of namespace, name and agent, each ended by a zero byte, spread by fmix64: the same for every version of this program and
// of Go.
func (m Members) owner(ref hops.Ref) string {
	var best string
	var most uint64
	of := newSum().text(ref.Namespace).text(ref.Name)
	for i, name := range m.all {
		if w := mix(uint64(of.text(name))); i == 0 || w > most {
			best, most = name, w
		}
	}
	return best
}

// mix is fmix64 of MurmurHash3. Without it the weights of agents whose names differ in the last letter would go together.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
