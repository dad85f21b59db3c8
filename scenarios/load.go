// load.go: reads scenarios and refuses what would otherwise fail in the middle of a run.
package scenarios

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"probe/hops"
)

//go:embed */*.yaml
var files embed.FS

// All reads every scenario that is built in, by name.
func All() ([]Scenario, error) { return readAll(files) }

// readAll reads every folder that has a scenario.yaml. It names all that is wrong, not only the first.
func readAll(from fs.FS) ([]Scenario, error) {
	found, err := fs.Glob(from, "*/scenario.yaml")
	if err != nil {
		return nil, err
	}
	var out []Scenario
	var bad []error
	for _, file := range found {
		s, err := load(from, strings.TrimSuffix(file, "/scenario.yaml"))
		bad = append(bad, err)
		out = append(out, s)
	}
	return out, errors.Join(bad...)
}

// load reads and checks one folder.
func load(from fs.FS, name string) (Scenario, error) {
	raw, err := fs.ReadFile(from, name+"/scenario.yaml")
	if err != nil {
		return Scenario{}, fmt.Errorf("scenario %s: %w", name, err)
	}
	s := Scenario{Name: name}
	if err := yaml.UnmarshalStrict(raw, &s); err != nil {
		return s, fmt.Errorf("scenario %s: %w", name, err)
	}
	if err := s.check(from); err != nil {
		return s, fmt.Errorf("scenario %s: %w", name, err)
	}
	return s, nil
}

// maxSettle bounds what one look may wait for.
const maxSettle = 15 * time.Minute

// check finds what is wrong with a scenario.
func (s *Scenario) check(from fs.FS) error {
	var bad []error
	say := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if s.Title == "" || s.Service == "" {
		say("title and service must be there")
	}
	if s.Settle.Duration <= 0 || s.Settle.Duration > maxSettle {
		say("settle: a time above 0 and up to %s", maxSettle)
	}
	if len(s.Base)+len(s.Inject) == 0 {
		say("neither base nor inject: there would be nothing to probe")
	}
	for _, r := range s.Requires {
		if _, ok := requirements()[r]; !ok {
			say("requires %q: one of %s", r, strings.Join(slices.Sorted(maps.Keys(requirements())), ", "))
		}
	}
	known := knownIDs()
	if !known[s.Mode] {
		say("mode %q is the id of no rule", s.Mode)
	}
	s.Expect.check("expect", known, say)
	if s.Starting != nil {
		s.Starting.check("starting", known, say)
	}
	actions := map[string][]Action{"inject": s.Inject}
	if s.Later != nil {
		s.Later.Expect.check("later.expect", known, say)
		actions["later.do"] = s.Later.Do
		if d := s.Later.Settle.Duration; d <= 0 || d > maxSettle {
			say("later.settle: a time above 0 and up to %s", maxSettle)
		}
	}
	for _, m := range s.Base {
		s.checkManifest(from, m, say)
	}
	for where, list := range actions {
		for i, a := range list {
			s.checkAction(from, fmt.Sprintf("%s[%d]", where, i), a, say)
		}
	}
	return errors.Join(bad...)
}

func knownIDs() map[string]bool {
	known := map[string]bool{"": true}
	for _, r := range hops.Rules() {
		known[r.ID] = true
	}
	return known
}

func (e *Expect) check(where string, known map[string]bool, say func(string, ...any)) {
	for _, state := range append([]hops.State{e.State}, e.OrState...) {
		if !slices.Contains([]hops.State{hops.OK, hops.Failed, hops.Degraded, hops.Inconclusive}, state) {
			say("%s.state %q: OK, Failed, Degraded or Inconclusive", where, state)
		}
	}
	if e.Hop != "" && !slices.Contains(hops.All(), e.Hop) {
		say("%s.hop %q is no hop", where, e.Hop)
	}
	for _, id := range slices.Concat([]string{e.ID}, e.Or, e.Never) {
		if !known[id] {
			say("%s: %q is the id of no rule", where, id)
		}
	}
}

func (s *Scenario) checkAction(from fs.FS, where string, a Action, say func(string, ...any)) {
	set := 0
	for _, is := range []bool{a.Apply != "", a.Scale != nil, a.Delete != nil, a.Patch != nil, a.Wait != "", a.Until != ""} {
		if is {
			set++
		}
	}
	if set != 1 {
		say("%s: exactly one of apply, scale, delete, patch, wait and until, not %d", where, set)
	}
	if _, err := time.ParseDuration(a.Wait); a.Wait != "" && err != nil {
		say("%s: %w", where, err)
	}
	if a.Until != "" && a.Until != NoPods && a.Until != APod {
		say("%s: until %q: %s or %s", where, a.Until, NoPods, APod)
	}
	if a.Apply != "" {
		s.checkManifest(from, a.Apply, say)
	}
	if at := a.touches(); at != nil && at.Namespace != "" && !s.Shared {
		say("%s: %s is not in the scenario's own namespace: it must say `shared: true`", where, at)
	}
	if at := a.touches(); at != nil && at.Kind == "Secret" {
		say("%s: a Secret must not be changed or deleted: its undoing would have to keep what it holds", where)
	}
}

// touches is the object that an action changes or deletes; nil for the others.
func (a Action) touches() *Object {
	switch {
	case a.Scale != nil:
		return &Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: a.Scale.Namespace, Name: a.Scale.Name}
	case a.Delete != nil:
		return a.Delete
	case a.Patch != nil:
		return &a.Patch.Object
	}
	return nil
}

func (o *Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// foreign finds a namespace that is written into a manifest.
var foreign = regexp.MustCompile(`(?m)\bnamespace:[ \t]*["']?([a-z0-9-]+)`)

func (s *Scenario) checkManifest(from fs.FS, name string, say func(string, ...any)) {
	if strings.Contains(name, "/") {
		say("manifest %q: only files of the scenario's own folder", name)
		return
	}
	raw, err := fs.ReadFile(from, s.Name+"/"+name)
	if err != nil {
		say("manifest %q is missing", name)
		return
	}
	if m := foreign.FindSubmatch(raw); m != nil && !s.Shared {
		say("manifest %q names the namespace %s: leave it out, or say `shared: true`", name, m[1])
	}
}

// placeholder is ${NAME} in a manifest.
var placeholder = regexp.MustCompile(`\$\{([A-Z0-9_]+)\}`)

// manifest reads a manifest of the scenario, or of the kit, with its placeholders filled in. lacking are those that nothing fills in.
func manifest(file string, values map[string]string) (text []byte, lacking []string, err error) {
	raw, err := files.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("manifest %s: %w", file, err)
	}
	text = placeholder.ReplaceAllFunc(raw, func(m []byte) []byte {
		name := string(m[2 : len(m)-1])
		v, ok := values[name]
		if !ok && !slices.Contains(lacking, name) {
			lacking = append(lacking, name)
		}
		return []byte(v)
	})
	return text, lacking, nil
}

// modelStore is the manifest of the account by which scenarios reach the model store, in the folder of what they share.
const modelStore = "kit/model-store.yaml"

// manifests are the files that a scenario applies at any time, with those of the kit.
func (s *Scenario) manifests() []string {
	var out []string
	if slices.Contains(s.Requires, "model-store") {
		out = append(out, modelStore)
	}
	for _, m := range s.Base {
		out = append(out, s.Name+"/"+m)
	}
	actions := s.Inject
	if s.Later != nil {
		actions = slices.Concat(s.Inject, s.Later.Do)
	}
	for _, a := range actions {
		if a.Apply != "" {
			out = append(out, s.Name+"/"+a.Apply)
		}
	}
	return out
}

// lacking are the placeholders of a scenario's manifests that nothing fills in.
func (s *Scenario) lacking(values map[string]string) ([]string, error) {
	have := maps.Clone(values)
	if have == nil {
		have = map[string]string{}
	}
	have["NAMESPACE"] = s.Name
	var out []string
	for _, m := range s.manifests() {
		_, lacks, err := manifest(m, have)
		if err != nil {
			return nil, err
		}
		out = append(out, lacks...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
