// rows.go: makes partial objects of table rows: each column goes where the API has it, and all of them stay under "row".
package paste

import (
	"fmt"
	"strings"

	"probe/hops"
)

// rowReader takes the rows of one table.
type rowReader struct {
	p      *parser
	tb     table
	hint   hint
	n      int
	elided bool
	last   int // events taken before the row that a wrapped text may continue
	events bool
	gap    bool // the last line ended in a blank: a wrapped text goes on with a new word
}

// wholeList is a list that a command printed in full.
type wholeList struct {
	kind      kind
	namespace string
	all       bool
	selector  string
}

func (p *parser) newRows(tb table) *rowReader {
	return &rowReader{p: p, tb: tb, hint: p.hint, events: tb.kind.kind == "Event"}
}

// tableKind tells what a table lists: by its columns, by the command above it when they fit, by the name of the file.
func (p *parser) tableKind(tb table) (kind, bool) {
	has := map[string]bool{}
	for _, c := range tb.cols {
		has[c.name] = true
	}
	if name := kindByColumns(has); name != "" {
		return p.kinds.find(name)
	}
	for _, h := range []hint{p.hint, p.file} {
		if len(h.kinds) == 1 && (h.verb == "get" || h.verb == "") && has["NAME"] {
			return p.kinds.find(h.kinds[0])
		}
	}
	if has["NAME"] && has["READY"] && has["REASON"] {
		return p.kinds.find("kingress")
	}
	return kind{}, false
}

// kindByColumns knows the tables that one kind alone has (k8s.io/kubernetes/pkg/printers/internalversion, additionalPrinterColumns of the CRDs).
func kindByColumns(has map[string]bool) string {
	all := func(names ...string) bool {
		for _, n := range names {
			if !has[n] {
				return false
			}
		}
		return true
	}
	switch {
	case all("REASON", "MESSAGE") && (has["OBJECT"] || has["KIND"] || has["LAST SEEN"] || has["LASTSEEN"] || has["TYPE"]):
		return "events"
	case all("NAME", "READY", "STATUS", "RESTARTS"):
		return "pods"
	case all("NAME", "URL", "READY") && (has["PREV"] || has["LATEST"] || has["DEFAULT TRAFFIC"] || has["CANARY TRAFFIC"] || has["LATESTREADYREVISION"]),
		all("NAME", "READY", "PREVROLLEDOUTREVISION"), all("NAME", "READY", "DEFAULT TRAFFIC"):
		return "isvc"
	case all("NAME", "LATESTCREATED", "LATESTREADY") && (has["URL"] || has["DOMAIN"]):
		return "ksvc"
	case all("NAME", "LATESTCREATED", "LATESTREADY"):
		return "configurations"
	case all("NAME", "URL", "READY", "REASON"), all("NAME", "DOMAIN", "READY", "REASON"):
		return "routes"
	case has["CONFIG NAME"], has["K8S SERVICE NAME"], all("NAME", "SERVICE NAME", "GENERATION", "READY"):
		return "revisions"
	case has["DESIREDSCALE"]:
		return "kpa"
	case has["PRIVATESERVICENAME"], has["ACTIVATORS"], all("NAME", "MODE", "SERVICENAME"):
		return "sks"
	case has["UP-TO-DATE"]:
		return "deployments"
	case all("NAME", "DESIRED", "CURRENT", "READY") && !has["NODE SELECTOR"]:
		return "replicasets"
	case all("TYPE", "CLUSTER-IP"):
		return "services"
	case all("ADDRESSTYPE", "ENDPOINTS"):
		return "endpointslices"
	case has["ENDPOINTS"]:
		return "endpoints"
	case all("GATEWAYS", "HOSTS"):
		return "vs"
	case has["HOSTNAMES"]:
		return "httproutes"
	case has["PROGRAMMED"]:
		return "gtw"
	case all("CLASS", "HOSTS"), all("HOSTS", "ADDRESS", "PORTS"):
		return "ingress.networking.k8s.io"
	case has["STORAGECLASS"] && has["VOLUME"]:
		return "pvc"
	case all("DISABLED", "MODELTYPE"):
		return "servingruntimes"
	case has["CREATED AT"]:
		return "crd"
	case all("STATUS", "ROLES"):
		return "nodes"
	case has["POD-SELECTOR"]:
		return "netpol"
	case all("REQUEST", "LIMIT"):
		return "quota"
	case has["REFERENCE"] && has["TARGETS"]:
		return "hpa"
	}
	return ""
}

// row takes one row.
func (w *rowReader) row(cells []string, no int) {
	w.n++
	if w.crowded(cells) {
		return
	}
	row := make(map[string]any, len(cells))
	for i, c := range cells {
		if i < len(w.tb.cols) && c != "" {
			row[w.tb.cols[i].name] = w.p.shared(c)
		}
	}
	if w.events {
		w.last = len(w.p.events)
		w.p.eventRow(row)
		return
	}
	k, name, known := w.kindOf(str(row["NAME"]))
	if !known {
		return
	}
	if name == "" || strings.HasSuffix(name, "...") || strings.HasSuffix(name, "…") {
		w.elided = true
		return
	}
	row["NAME"] = name
	w.p.rowObject(k, name, row, no)
}

// crowded says whether a row is left out because there are very many: first those that look well, then all but the wanted service's.
func (w *rowReader) crowded(cells []string) bool {
	if w.events || w.p.rows < maxRows/2 {
		return false
	}
	well, ill := false, false
	for i, c := range w.tb.cols {
		switch {
		case i >= len(cells):
		case c.name == "NAME" && w.p.wanted(cells[i]):
			return false
		case c.name == "STATUS" && cells[i] == "Running", c.name == "READY" && cells[i] == "True":
			well = true
		case c.name == "READY" && countCell.MatchString(cells[i]):
			up, all, _ := strings.Cut(cells[i], "/")
			ill = up != all
		}
	}
	if well && !ill || w.p.rows >= maxRows {
		w.p.dropped[w.tb.kind.kind]++
		return true
	}
	return false
}

// kindOf reads the kind before a name, as `kubectl get all` prints it, else that of the table.
func (w *rowReader) kindOf(name string) (kind, string, bool) {
	if prefix, rest, ok := strings.Cut(name, "/"); ok {
		if k, found := w.p.kinds.find(prefix); found {
			return k, rest, true
		}
		w.p.dropped[prefix]++
		return kind{}, "", false
	}
	k := w.tb.kind
	if k.kind == "ServingRuntime" && len(w.hint.kinds) == 0 && strings.HasPrefix(name, "kserve-") {
		k, _ = w.p.kinds.find("clusterservingruntimes") // KServe's own runtimes are cluster-wide
	}
	if k.kind == "InferenceService" && w.tb.has("DEFAULT TRAFFIC") {
		k.api = "serving.kubeflow.org/v1alpha2" // KFServing's own columns
	}
	return k, name, w.tb.known
}

// continues takes a line that is no row as the rest of the last row's text.
func (w *rowReader) continues(text string, gap bool) bool {
	if w.n == 0 || len(text) > 2000 {
		return false
	}
	last := w.tb.cols[len(w.tb.cols)-1].name
	if w.events && last == "MESSAGE" && len(w.p.events) > w.last {
		e := &w.p.events[len(w.p.events)-1].Event
		t := strings.TrimSpace(text)
		if len(e.Message)+len(t) > 4000 || jsonLine(t) {
			return false
		}
		if t != text || w.gap || endsOpen(e.Message) {
			t = " " + t
		}
		e.Message += t
		w.gap = gap
		return true
	}
	return last == "REASON" && strings.HasPrefix(text, " ") || strings.HasPrefix(strings.TrimSpace(text), "<none>")
}

func jsonLine(t string) bool { return strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}") }

// endsOpen says whether a text that was wrapped lost a blank at its end.
func endsOpen(s string) bool { return s != "" && strings.IndexByte(":,;.", s[len(s)-1]) >= 0 }

// end notes what the table proves: a list that a command without names, selectors or pipes printed is whole when nothing was left out.
func (w *rowReader) end() {
	if w.n == 0 {
		return
	}
	if !w.tb.known && !w.events {
		if w.n > 0 && len(w.p.dropped) == 0 {
			w.p.note(w.p.name, 0, "a table whose kind cannot be told by its columns: put the kubectl command above it")
		}
		return
	}
	if !w.elided {
		w.p.whole(w.hint, w.tb.kind)
	}
}

// whole remembers a list that its command printed in full.
func (p *parser) whole(h hint, k kind) {
	ownSelector := h.selector != "" && strings.Contains(h.selector, "/inferenceservice=") && h.name == ""
	if h.tool != "kubectl" || h.verb != "get" || h.named && !ownSelector || len(h.kinds) != 1 {
		return
	}
	if asked, ok := p.kinds.find(h.kinds[0]); !ok || asked.kind != k.kind || asked.api != k.api {
		return
	}
	p.lists = append(p.lists, wholeList{kind: k, namespace: h.namespace, all: h.all, selector: h.selector})
}

// rowObject makes the object of a row.
func (p *parser) rowObject(k kind, name string, row map[string]any, no int) {
	meta := map[string]any{"name": name}
	o := hops.Object{APIVersion: k.api, Kind: k.kind, Name: name, Namespace: str(row["NAMESPACE"]), Partial: true}
	if o.Namespace != "" {
		meta["namespace"] = o.Namespace
	}
	if labels := labelsOf(str(row["LABELS"])); labels != nil {
		meta["labels"] = labels
	}
	o.Tree = map[string]any{"apiVersion": k.api, "kind": k.kind, "metadata": meta, "row": row}
	f := found{Object: o, row: true, age: ageOf(str(row["AGE"])), name: p.name, no: no}
	spread(&f.Object, row)
	p.take(f)
}

// remember keeps how a container ended when a later row of the same pod only shows that it waits or runs again: kubectl get pods -w prints the
// one reason for a moment.
func remember(old, new *found) {
	was, _ := old.Tree["row"].(map[string]any)
	now, _ := new.Tree["row"].(map[string]any)
	before, init := strings.CutPrefix(str(was["STATUS"]), "Init:")
	after := strings.TrimPrefix(str(now["STATUS"]), "Init:")
	ended := map[string]any{"reason": before}
	switch before {
	case "OOMKilled":
		ended["exitCode"] = int64(137)
	case "Error", "ContainerCannotRun", "StartError":
	default:
		return
	}
	if after == before {
		return
	}
	status, _ := new.Tree["status"].(map[string]any)
	if status == nil {
		status = map[string]any{}
		new.Tree["status"] = status
	}
	restarts, _, _ := strings.Cut(str(now["RESTARTS"]), " ")
	c := map[string]any{"name": "", "ready": false, "lastState": map[string]any{"terminated": ended}}
	number(c, "restartCount", restarts)
	if after == "CrashLoopBackOff" {
		c["state"] = map[string]any{"waiting": map[string]any{"reason": after}}
	}
	list := "containerStatuses"
	if init {
		list = "initContainerStatuses"
	}
	status[list] = []any{c}
}

// labelsOf reads "a=b,c=d".
func labelsOf(s string) map[string]any {
	if s == "" || s == "<none>" {
		return nil
	}
	m := map[string]any{}
	for pair := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			m[k] = v
		}
	}
	return m
}

func plural(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
