# shellcheck shell=bash disable=SC2034
# Every pinned version of the test cluster, and nothing else. Python packages are pinned beside their image, in images/*/requirements.txt.
KUBERNETES=v1.36.3
KUBERNETES_LIBS=v0.36.3 # k8s.io/api and its siblings: the staging repositories of KUBERNETES
KIND=v0.33.0
CONTAINERD=v2.4.2
ETCD=v3.6.8
ETCD_TAG=3.6.8-0 # these three tags are the ones that kubeadm of KUBERNETES asks for
COREDNS=v1.14.2
PAUSE=3.10.2
KNATIVE_SERVING=v0.48.1
NET_GATEWAY_API=v0.48.0
KSERVE=v0.20.0
ISTIO=v0.0.0-20260827124520-eed52ebb66ad # the release tags cannot be fetched as modules; this commit is of the 1.31 line
ISTIO_API=v1.31.1
ENVOY_API=v1.40.0
ENVOY_CONTRIB_API=v1.36.1-0.20260729145720-a2d8c7492908
JAEGER=v1.76.0
VERSITYGW=v1.8.0
DEBIAN=bookworm
