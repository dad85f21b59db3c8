package hops

import (
	"fmt"
	"testing"
)

func TestThinKeepsWhatDiffers(t *testing.T) {
	var lines []Line
	for i := range 1000 {
		lines = append(lines, Line{Pod: "p", Container: "c", Number: i + 1, Text: fmt.Sprintf(`INFO: 10.0.0.%d:%d - "GET /v1/models/iris HTTP/1.1" 200 OK`, i%250, 30000+i)})
		if i == 400 {
			lines = append(lines, Line{Pod: "p", Container: "c", Text: "ERROR: model folder is empty"})
		}
	}
	got := thin(lines)
	if len(got) != 4 || got[0].Number != 1 || got[1].Text != "ERROR: model folder is empty" || got[2].Number != 999 || got[3].Number != 1000 {
		t.Errorf("got %d lines: %+v", len(got), got)
	}
}

func TestThinKeepsLogsApart(t *testing.T) {
	var lines []Line
	for i := range 600 {
		lines = append(lines, Line{Pod: fmt.Sprint("p", i%2), Previous: i%4 < 2, Text: "same"})
	}
	if got := thin(lines); len(got) != 4*keepAlike {
		t.Errorf("got %d lines, want %d a log", len(got), keepAlike)
	}
}

func TestThinLeavesShortLogsAlone(t *testing.T) {
	lines := []Line{{Text: "a"}, {Text: "a"}, {Text: "a"}, {Text: "a"}, {Text: "a"}}
	if got := thin(lines); len(got) != len(lines) {
		t.Errorf("got %d lines of %d", len(got), len(lines))
	}
}
