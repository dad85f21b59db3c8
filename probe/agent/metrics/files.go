// files.go: what Prometheus and Grafana are given to read the series with.
package metrics

import _ "embed"

//go:embed alerts.yaml
var alerts string

//go:embed dashboard.json
var dashboard string

// Alerts is a Prometheus rule file (YAML).
func Alerts() string { return alerts }

// Dashboard is a Grafana dashboard (JSON, schema version 39). It asks for its Prometheus data source by a variable.
func Dashboard() string { return dashboard }
