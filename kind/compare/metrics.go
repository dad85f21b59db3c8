// metrics.go: what the processes say of themselves at /metrics.
package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// scraper asks as Prometheus does, over connections that are kept.
type scraper struct {
	client http.Client
	gzip   bool
}

func newScraper(gzip bool) *scraper {
	return &scraper{gzip: gzip, client: http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}}
}

// get reads one page. A compressed one is read, but not looked into: the text is empty then.
func (s *scraper) get(ctx context.Context, url string) (text string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if s.gzip {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("%s answered %s", url, resp.Status)
	case resp.Header.Get("Content-Encoding") != "":
		return "", nil
	}
	return string(raw), nil
}

// samples gives the values of a name whose labels hold a text.
func samples(page, name, label string) []float64 {
	var out []float64
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		labels, value := "", rest
		if end := strings.IndexByte(rest, '}'); rest[0] == '{' && end > 0 {
			labels, value = rest[:end], rest[end+1:]
		}
		if f := strings.Fields(value); len(f) > 0 && strings.Contains(labels, label) {
			if v, err := strconv.ParseFloat(f[0], 64); err == nil {
				out = append(out, v)
			}
		}
	}
	return out
}

// sum adds them up.
func sum(page, name, label string) float64 {
	total := 0.0
	for _, v := range samples(page, name, label) {
		total += v
	}
	return total
}

// positive counts those above zero.
func positive(page, name, label string) int {
	n := 0
	for _, v := range samples(page, name, label) {
		if v > 0 {
			n++
		}
	}
	return n
}

// buckets reads a histogram: how many samples were at most so much. Bounds are in order, as Prometheus' text format has them.
func buckets(page, name string) (bounds, counts []float64) {
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(line, name+`_bucket{le="`)
		if !ok {
			continue
		}
		le, rest, _ := strings.Cut(rest, `"`)
		bound, err := strconv.ParseFloat(le, 64)
		_, value, _ := strings.Cut(rest, "}")
		f := strings.Fields(value)
		if err != nil || len(f) == 0 {
			continue
		}
		if n, err := strconv.ParseFloat(f[0], 64); err == nil {
			bounds, counts = append(bounds, bound), append(counts, n)
		}
	}
	return bounds, counts
}

// quantile is the bound of the bucket that a quantile of the samples between two pages lies in: at most so much. NaN without samples.
func quantile(before, after, name string, q float64) float64 {
	_, was := buckets(before, name)
	bounds, is := buckets(after, name)
	if len(is) == 0 || len(was) != len(is) {
		return math.NaN()
	}
	last := len(is) - 1
	all := is[last] - was[last]
	for i := range is {
		if all > 0 && is[i]-was[i] >= q*all {
			return bounds[i]
		}
	}
	return math.NaN()
}
