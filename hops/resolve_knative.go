// resolve_knative.go: what Knative's and Istio's own types say about a component: its revisions, their weights, the gateways in front.
package hops

import (
	"cmp"
	"slices"
	"strings"

	istio "istio.io/client-go/pkg/apis/networking/v1beta1"
	networking "knative.dev/networking/pkg/apis/networking/v1alpha1"
	serving "knative.dev/serving/pkg/apis/serving/v1"
)

// knative reads a component of Knative mode.
func (r *resolver) knative(c *ComponentState) {
	var canary *Object
	for _, o := range r.objects(KnativeServices) {
		if ComponentOf(o) != c.Name {
			continue
		}
		if stable, ok := strings.CutSuffix(o.Name, "-canary"); ok && r.named(KnativeServices, stable+"-default") != nil {
			canary = o
			continue
		}
		c.Service = o.Name
		var svc serving.Service
		if err := o.Decode(&svc); err != nil {
			r.unknown(err.Error())
			continue
		}
		r.template(c, o.List("spec", "template", "spec", "containers"))
		c.Host = hostOf(o.Str("status", "url"))
		if a := o.Str("status", "address", "url"); a != "" {
			c.LocalHost = hostOf(a)
		}
		r.traffic(c, svc.Status.Traffic, svc.Status.LatestCreatedRevisionName)
	}
	if c.Service == "" {
		r.fromRevisions(c)
	}
	if canary != nil {
		r.canary(c, canary)
	}
	for i := range c.Revisions {
		r.revision(c, &c.Revisions[i])
	}
}

// canary adds the revisions of KFServing's canary, which was a Knative Service of its own, with the share of the requests that the InferenceService
// gives it (v1alpha2, spec.canaryTrafficPercent).
func (r *resolver) canary(c *ComponentState, o *Object) {
	var svc serving.Service
	if err := o.Decode(&svc); err != nil {
		r.unknown(err.Error())
		return
	}
	share := min(max(r.isvc.Int("spec", "canaryTrafficPercent"), 0), 100)
	var own ComponentState
	r.traffic(&own, svc.Status.Traffic, svc.Status.LatestCreatedRevisionName)
	for i := range c.Revisions {
		c.Revisions[i].Weight = c.Revisions[i].Weight * (100 - share) / 100
	}
	for _, v := range own.Revisions {
		v.Weight = v.Weight * share / 100
		c.Revisions = append(c.Revisions, v)
	}
}

// traffic reads weights. While nothing is routed yet, the newest revision is the one that callers wait for.
func (r *resolver) traffic(c *ComponentState, targets []serving.TrafficTarget, newest string) {
	for _, t := range targets {
		weight := 0
		if t.Percent != nil {
			weight = int(*t.Percent)
		}
		at := slices.IndexFunc(c.Revisions, func(v RevisionState) bool { return v.Name == t.RevisionName })
		if at < 0 {
			c.Revisions = append(c.Revisions, RevisionState{Name: t.RevisionName, Weight: weight, Tag: t.Tag})
			continue
		}
		c.Revisions[at].Weight += weight
		c.Revisions[at].Tag = cmp.Or(c.Revisions[at].Tag, t.Tag)
	}
	if newest == "" {
		return
	}
	at := slices.IndexFunc(c.Revisions, func(v RevisionState) bool { return v.Name == newest })
	if at < 0 {
		weight := 0
		if len(targets) == 0 {
			weight = 100
		}
		at = len(c.Revisions)
		c.Revisions = append(c.Revisions, RevisionState{Name: newest, Weight: weight})
	}
	c.Revisions[at].Latest = true
}

// fromRevisions takes the newest revision of a component whose Knative Service was not read.
func (r *resolver) fromRevisions(c *ComponentState) {
	newest := ""
	for _, o := range r.objects(Revisions) {
		if ComponentOf(o) == c.Name {
			newest = max(newest, o.Name)
		}
	}
	for _, p := range r.ix.pods {
		if p.Component == c.Name && newest == "" {
			newest = p.Revision
		}
	}
	if newest != "" {
		c.Revisions = []RevisionState{{Name: newest, Weight: 100, Latest: true}}
		if i := strings.LastIndex(newest, "-"); i > 0 { // a name from a paste may be of any form
			c.Service = newest[:i]
		}
	}
}

// revision fills in what the revision, its autoscaler, its ServerlessService and its pods say.
func (r *resolver) revision(c *ComponentState, v *RevisionState) {
	rev, pa, sks := r.named(Revisions, v.Name), r.named(PodAutoscalers, v.Name), r.named(ServerlessServices, v.Name)
	v.Pods = r.pods(c.Name, v.Name)
	v.Ready = rev.Ready()
	v.ViaProxy = sks.Str("spec", "mode") == "Proxy"
	scale := cmp.Or(rev.Annotation(annMinScale), rev.Annotation(annOldMin), pa.Annotation(annMinScale))
	v.ScaleToZero = rev != nil && (scale == "" || scale == "0")
	active, known := rev.Condition("Active")
	if paActive, ok := pa.Condition("Active"); ok {
		active, known = paActive, true
	}
	noPods := len(v.Pods) == 0
	v.Asleep = noPods && known && active.False() && active.Reason == "NoTraffic" && v.Ready
	if rev == nil {
		return
	}
	r.template(c, rev.List("spec", "containers"))
}

// gateways finds the gateways' Services: the Knative Ingress names both in its status, inside the user's own namespace; else the
// placeholder Services and KServe's VirtualService name the local one.
func (r *resolver) gateways(outside, local *DoorState) {
	outside.Gateway, local.Gateway = classGateways(r.ingressClass())
	for _, o := range r.objects(KnativeIngresses) {
		var ing networking.Ingress
		if err := o.Decode(&ing); err != nil {
			r.unknown(err.Error())
			continue
		}
		if lb := ing.Status.PublicLoadBalancer; lb != nil {
			for _, i := range lb.Ingress {
				setGateway(outside, i.DomainInternal)
			}
		}
		if lb := ing.Status.PrivateLoadBalancer; lb != nil {
			for _, i := range lb.Ingress {
				setGateway(local, i.DomainInternal)
			}
		}
	}
	if vs := r.named(VirtualServices, r.f.Ref.Name); vs != nil && local.Guessed {
		r.destination(vs, local)
	}
	if s := r.named(Services, r.f.Ref.Name); local.Guessed {
		setGateway(local, s.Str("spec", "externalName"))
	}
}

// destination reads the local gateway from KServe's VirtualService, and the hosts that it serves when the service has no URL.
func (r *resolver) destination(o *Object, local *DoorState) {
	var vs istio.VirtualService
	if err := o.Decode(&vs); err != nil {
		r.unknown(err.Error())
		return
	}
	for _, route := range vs.Spec.GetHttp() {
		for _, to := range route.GetRoute() {
			setGateway(local, to.GetDestination().GetHost())
		}
	}
}

// setGateway takes a name such as istio-ingressgateway.istio-system.svc.cluster.local for the door's gateway.
func setGateway(d *DoorState, host string) {
	parts := strings.Split(host, ".")
	if len(parts) < 3 || parts[2] != "svc" || parts[0] == "activator-service" {
		return
	}
	d.Gateway.Name, d.Gateway.Namespace, d.Guessed = parts[0], parts[1], false
}
