// doc.go: the table of annotations for people.
package settings

import (
	"fmt"
	"strings"
)

// Doc is a table of all annotations in Markdown: name, form, default, meaning.
func Doc() string {
	var b strings.Builder
	b.WriteString("| annotation | value | default | means |\n|---|---|---|---|\n")
	for _, c := range choices() {
		usual := "-"
		if v := c.get(Defaults()); v != "" {
			usual = "`" + v + "`"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", Prefix, c.name, cell(c.form), usual, cell(c.means))
	}
	return b.String()
}

// cell keeps a bar from ending the cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
