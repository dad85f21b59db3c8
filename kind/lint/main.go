// Command lint checks the product's code: staticcheck's analyzers, and the import rules of imports.yml. It is built apart, in a module of its
// own, so that linters never enter the product's dependencies.
package main

import (
	_ "embed"
	"fmt"
	"os"

	"github.com/OpenPeeDeeP/depguard/v2"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/multichecker"
	"gopkg.in/yaml.v3"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/unused"
)

//go:embed imports.yml
var imports []byte

func main() {
	var rules depguard.LinterSettings
	if err := yaml.Unmarshal(imports, &rules); err != nil {
		fmt.Fprintln(os.Stderr, "imports.yml:", err)
		os.Exit(2)
	}
	guard, err := depguard.NewAnalyzer(&rules)
	if err != nil {
		fmt.Fprintln(os.Stderr, "imports.yml:", err)
		os.Exit(2)
	}
	all := []*analysis.Analyzer{guard, unused.Analyzer.Analyzer}
	for _, set := range [][]*lint.Analyzer{staticcheck.Analyzers, simple.Analyzers} {
		for _, a := range set {
			all = append(all, a.Analyzer)
		}
	}
	multichecker.Main(all...)
}
