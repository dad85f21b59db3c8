// file.go: a YAML file of defaults, with the names of the annotations without their prefix.
package settings

import (
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a file of defaults, in bytes.
const maxFile = 1 << 20

// ReadFile reads defaults for all services from a YAML file: a map from the names of the annotations, without Prefix, to values, as in
// `interval: 30s`. What it does not name is as in Defaults. An unknown name or a bad value is an error with file and line.
func ReadFile(path string) (Settings, error) {
	f, err := os.Open(path)
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	values, lines, err := readYAML(io.LimitReader(f, maxFile))
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", path, err)
	}
	out, problems := apply(values, Defaults())
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s:%d: %s%s", path, lines[p.name], p.name, p.text))
	}
	if len(errs) > 0 {
		return Settings{}, errors.Join(errs...)
	}
	return out, nil
}

// readYAML gives the values as they are written, and on which line each name stands.
func readYAML(r io.Reader) (values map[string]string, lines map[string]int, err error) {
	var doc, second yaml.Node
	decoder := yaml.NewDecoder(r)
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("it must hold one YAML document of at most %d bytes", maxFile)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, nil, errors.New("it must hold names and values, as in `interval: 30s`")
	}
	values, lines = map[string]string{}, map[string]int{}
	pairs := doc.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		name, value := pairs[i], pairs[i+1]
		switch _, twice := values[name.Value]; {
		case name.Kind != yaml.ScalarNode || value.Kind != yaml.ScalarNode || value.Tag == "!!null":
			return nil, nil, fmt.Errorf("line %d: give %s one value, as in `interval: 30s`", name.Line, printable(name.Value))
		case twice:
			return nil, nil, fmt.Errorf("line %d: %s stands there twice", name.Line, printable(name.Value))
		}
		values[name.Value], lines[printable(name.Value)] = value.Value, name.Line
	}
	return values, lines, nil
}
