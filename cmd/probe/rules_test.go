package main

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The catalogue in the repository is what the rules say.
func TestCatalogueFile(t *testing.T) {
	const path = "../../hops/README.md"
	code, got, errs := try(t, "", nil, "rules", "-o", "markdown")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not what the rules say: run `go test ./cmd/probe -run CatalogueFile -update`", path)
	}
}
