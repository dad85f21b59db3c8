// model_names.go: which models a server has, by its own list, its log and its arguments.
package hops

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// listsModels says whether a request asked which models there are.
func listsModels(o *Observation) bool {
	path := strings.TrimSuffix(o.Path, "/")
	return strings.HasSuffix(path, "/v1/models") || strings.HasSuffix(path, "/v2/models") || strings.HasSuffix(path, "/v2/repository/index") ||
		path == "" && strings.HasPrefix(strings.TrimSpace(o.Body), `{"models":`)
}

// modelList reads a server's list: KServe {"models":["iris"]}, OpenAI {"data":[{"id":"x"}]}, Triton and MLServer [{"name":"x"}].
func modelList(o *Observation) (names []string, ok bool) {
	if !o.OK() || o.Asked == Knock || !listsModels(o) {
		return nil, false
	}
	var tree any
	if json.Unmarshal([]byte(o.Body), &tree) != nil {
		return nil, false
	}
	list := tree
	if m, isMap := tree.(map[string]any); isMap {
		if list = m["models"]; list == nil {
			list = m["data"]
		}
	}
	items, ok := list.([]any)
	for _, e := range items {
		name := text(e)
		for _, key := range []string{"name", "id"} {
			if s := text(dig(e, key)); s != "" {
				name = s
			}
		}
		names = append(names, name)
	}
	return names, ok
}

// lastList is the last list that a server of the component gave.
func lastList(v *View, component string) (names []string, from *Observation) {
	seen := v.Observations()
	for i := range seen {
		if list, ok := modelList(&seen[i]); ok && v.behind(Container, &seen[i]).Component == component {
			names, from = list, &seen[i]
		}
	}
	return names, from
}

// emptyList finds servers that list no model. With several models to a server KServe's agent fetches them when TrainedModels are made.
func emptyList(v *View) []Match {
	if slices.ContainsFunc(v.Pods(), manyModels) {
		return nil
	}
	var out []Match
	seen := v.Observations()
	for i := range seen {
		o := &seen[i]
		if names, ok := modelList(o); ok && len(names) == 0 && !answeredLater(seen[i+1:], o) {
			if _, last := lastList(v, v.behind(Container, o).Component); last != nil && last != o && last.Step.ID() == o.Step.ID() {
				continue
			}
			out = append(out, Match{Step: v.behind(Container, o), Evidence: []Evidence{RequestEvidence(o, "body", strings.TrimSpace(o.Body))},
				Summary: "the model server has no model: it lists " + Clip(o.Body, 80)})
		}
	}
	return latest(merge(out), 2)
}

// manyModels says whether the pod's agent fetches models while it runs (kserve/pkg/constants, AgentEnableFlag).
func manyModels(p PodState) bool {
	for _, c := range p.List("spec", "containers") {
		args, _ := c["args"].([]any)
		if text(c["name"]) == "agent" && slices.ContainsFunc(args, func(a any) bool { return strings.HasPrefix(text(a), "--enable-puller") }) {
			return true
		}
	}
	return false
}

// emptyStart are the words of servers that come up without their model: KServe's (kserve/python/*server/__main__.py), TF Serving, MLServer, Triton.
var emptyStart = Re(`(?i)failed to locate model file for model|no versions of servable \S+ found under base path|couldn't load model '?[\w.-]+'?.*removed from registry|poll failed for model directory`)

// startedEmpty finds servers that said so when they started and did not end for it.
func startedEmpty(v *View) []Match {
	pods, revisions := v.Pods(), v.Objects(Revisions)
	ends := map[string]bool{} // pods whose server ended for it
	for _, l := range v.Lines(ContainerLogs) {
		ends[l.Pod] = ends[l.Pod] || hasAny(l.Text, "/mnt/models") && noModelFolder.Match(l.Text)
	}
	many := slices.ContainsFunc(pods, manyModels)
	var out []Match
	for _, m := range OnLine(Container, ContainerLogs, modelContainers, emptyStart)(v) {
		at := slices.IndexFunc(pods, func(p PodState) bool { return p.Name == m.Pod })
		last := m.Evidence[len(m.Evidence)-1]
		switch {
		case many || ends[m.Pod] || strings.Contains(last.Ref, "(previous)"),
			m.Step.Revision != "" && !v.matters(m.Step.Revision),
			at >= 0 && (pods[at].Deleted() && !failed(revisions, pods[at].Revision) || crashing(pods[at])),
			predicts(v, m.Step.Component, last.At):
			continue
		}
		m.Confidence, m.Evidence = Likely, m.Evidence[:1]
		m.Summary = "the model server came up without a model: " + Clip(m.Evidence[0].Value, 200)
		out = append(out, m)
	}
	return out
}

// crashing says whether a container of the model ends instead of serving.
func crashing(p PodState) bool {
	return !p.Ready && slices.ContainsFunc(p.Containers, func(c ContainerState) bool {
		return c.IsModel() && (c.Waiting != "" || c.Exit != nil || c.Restarts > 0)
	})
}

// predicts says whether a real prediction was answered since: its answer proves that the model is there.
func predicts(v *View, component string, since time.Time) bool {
	return slices.ContainsFunc(v.Observations(), func(o Observation) bool {
		c := v.behind(Container, &o).Component
		return o.Asked == RealRequest && o.OK() && o.Method == "POST" && (component == "" || c == component) && !o.Start.Before(since) && !listsModels(&o)
	})
}

// namedModel is the name that the component's server was told to give its model; the last of several flags counts, as servers read them.
func namedModel(v *View, s Step) (name string, e Evidence) {
	for _, src := range []Source{Pods, Revisions, Deployments} {
		for _, o := range v.Objects(src) {
			containers := o.List("spec", "containers")
			if src == Deployments {
				containers = o.List("spec", "template", "spec", "containers")
			}
			if name != "" || ComponentOf(o) != s.Component || s.Revision != "" && RevisionOf(o) != s.Revision {
				continue
			}
			for _, c := range containers {
				if n := argument(c["args"], "--model_name", "--model-name"); n != "" && isModelIn(containers, text(c["name"])) {
					name, e = n, FieldEvidence(o, n, "spec.containers["+text(c["name"])+"].args --model_name")
				}
			}
		}
	}
	return name, e
}

// missing lists the answers that say that there is no model of the name which the caller asked for.
func missing(v *View, found func(o *Observation, r reply, s Step) (Match, bool)) []Match {
	seen := v.Observations()
	var out []Match
	for i := range seen {
		o := &seen[i]
		r := readReply(o)
		if r.id != "model-name-mismatch" || o.Invented || answeredLater(seen[i+1:], o) {
			continue
		}
		if m, ok := found(o, r, v.behind(Container, o)); ok {
			out = append(out, m)
		}
	}
	return latest(merge(out), 3)
}

// rightName finds a server that does not know the very model that it was told to serve: it failed to load.
func rightName(v *View) []Match {
	return missing(v, func(o *Observation, r reply, s Step) (Match, bool) {
		told, e := namedModel(v, s)
		names, from := lastList(v, s.Component)
		ok := told == r.model && (from == nil || !slices.Contains(names, told))
		return Match{Step: s, Confidence: Likely, Evidence: []Evidence{replyEvidence(o), e},
			Summary: "the model server was told to serve " + told + " and does not know it: it failed to load"}, ok
	})
}

// otherName finds requests for a model that the server does not have.
func otherName(v *View) []Match {
	return missing(v, func(o *Observation, r reply, s Step) (Match, bool) {
		told, e := namedModel(v, s)
		names, from := lastList(v, s.Component)
		m := Match{Step: s, Evidence: []Evidence{replyEvidence(o)}, Confidence: Likely, Summary: "the service works; the request asks for model " + r.model + ", which the server does not have"}
		switch {
		case from != nil && len(names) > 0 && !slices.Contains(names, r.model):
			m.Confidence = Certain
			m.Summary = "the service works; the request asks for model " + r.model + ", the server has " + strings.Join(names, ", ")
			m.Evidence = append(m.Evidence, RequestEvidence(from, "body", strings.TrimSpace(from.Body)))
		case told != "" && told != r.model:
			m.Confidence = Certain
			m.Summary = "the service works; the request asks for model " + r.model + ", the server has " + told
			m.Evidence = append(m.Evidence, e)
		case told == r.model && told != "":
			return m, false
		}
		return m, true
	})
}
