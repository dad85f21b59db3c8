package main

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestServerTargets(t *testing.T) {
	endpoints := &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{ //nolint:staticcheck // as net-istio
		Addresses: []corev1.EndpointAddress{{IP: "10.0.0.1"}, {IP: "10.0.0.2"}},                      //nolint:staticcheck // as net-istio
		Ports:     []corev1.EndpointPort{{Name: "http2", Port: 8080}, {Name: "status", Port: 15021}}, //nolint:staticcheck // as net-istio
	}}}
	ports := func(port, target int) []corev1.ServicePort {
		return []corev1.ServicePort{{Name: "http2", Port: int32(port), TargetPort: intstr.FromInt32(int32(target))}}
	}
	for name, c := range map[string]struct {
		ports     []corev1.ServicePort
		endpoints *corev1.Endpoints //nolint:staticcheck // as net-istio
		server    int64
		want      string
	}{
		"by the Service's port": {ports(80, 8080), endpoints, 80, "2 pods at 8080 for a.test:80"},
		"by its target port":    {ports(80, 8081), endpoints, 8081, "2 pods at 8080 for a.test:8081"},
		"another port":          {ports(443, 8443), endpoints, 80, ""},
		"no ready pod":          {ports(80, 8080), &corev1.Endpoints{}, 80, ""}, //nolint:staticcheck // as net-istio
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, target := range serverTargets(c.ports, c.endpoints, c.server, "a.test") {
				got += fmt.Sprintf("%d pods at %s for %s", target.PodIPs.Len(), target.PodPort, target.URLs[0].Host)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
