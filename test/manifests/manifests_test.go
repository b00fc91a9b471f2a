// Package manifests checks the manifests of deploy/kubernetes, and the chart nats with our values, against the Go types of
// Kubernetes and of the Prometheus Operator, which are the source of the published schemas. It is a module of its own, so that
// none of these types is a dependency of the server.
package manifests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

const kubernetes = "../../deploy/kubernetes/"

// cluster collects the objects of manifests.
type cluster struct {
	pods     []core.PodTemplateSpec
	services []*core.Service
	monitors []*monitoring.PodMonitor
	policies []*networking.NetworkPolicy
	budgets  []*policy.PodDisruptionBudget
	names    []string // kind/name of configuration maps and secrets
}

// add reads YAML documents. An unknown field, and a duplicate key, are errors.
func (c *cluster) add(text string) error {
	for i, document := range strings.Split("\n"+text, "\n---") {
		var head struct {
			APIVersion, Kind string
			Metadata         struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
		if head.Kind == "" && head.APIVersion == "" {
			continue // comments alone
		}
		if err := c.addObject(head.APIVersion+" "+head.Kind, []byte(document)); err != nil {
			return fmt.Errorf("document %d, %s %s: %w", i, head.Kind, head.Metadata.Name, err)
		}
		c.names = append(c.names, head.Kind+"/"+head.Metadata.Name)
	}
	return nil
}

func (c *cluster) addObject(kind string, document []byte) error {
	read := func(object any) error { return yaml.UnmarshalStrict(document, object) }
	switch kind {
	case "apps/v1 StatefulSet":
		var set apps.StatefulSet
		err := read(&set)
		for _, claim := range set.Spec.VolumeClaimTemplates {
			set.Spec.Template.Spec.Volumes = append(set.Spec.Template.Spec.Volumes, core.Volume{Name: claim.Name})
		}
		c.pods = append(c.pods, set.Spec.Template)
		return err
	case "apps/v1 Deployment":
		var deployment apps.Deployment
		err := read(&deployment)
		c.pods = append(c.pods, deployment.Spec.Template)
		return err
	case "v1 Service":
		service := new(core.Service)
		c.services = append(c.services, service)
		return read(service)
	case "monitoring.coreos.com/v1 PodMonitor":
		monitor := new(monitoring.PodMonitor)
		c.monitors = append(c.monitors, monitor)
		return read(monitor)
	case "networking.k8s.io/v1 NetworkPolicy":
		network := new(networking.NetworkPolicy)
		c.policies = append(c.policies, network)
		return read(network)
	case "policy/v1 PodDisruptionBudget":
		budget := new(policy.PodDisruptionBudget)
		c.budgets = append(c.budgets, budget)
		return read(budget)
	case "v1 Pod":
		return read(new(core.Pod)) // the chart's own test
	case "v1 Secret":
		return read(new(core.Secret))
	case "v1 ConfigMap":
		return read(new(core.ConfigMap))
	case "v1 ServiceAccount":
		return read(new(core.ServiceAccount))
	}
	return fmt.Errorf("this test does not know the kind %q", kind)
}

// faults returns the names in the manifests that refer to nothing.
func (c *cluster) faults() (faults []string) {
	fault := func(format string, words ...any) { faults = append(faults, fmt.Sprintf(format, words...)) }
	for _, service := range c.services {
		for _, port := range service.Spec.Ports {
			pods := c.selected(service.Spec.Selector)
			if len(pods) == 0 {
				fault("Service %s selects no pod", service.Name)
			}
			for _, pod := range pods {
				if target := port.TargetPort; target.Type == intstr.String && !hasPort(pod, target.StrVal) {
					fault("Service %s: no container has the port %s", service.Name, target.StrVal)
				}
			}
		}
	}
	for _, monitor := range c.monitors {
		for _, endpoint := range monitor.Spec.PodMetricsEndpoints {
			pods := c.selected(monitor.Spec.Selector.MatchLabels)
			if endpoint.Port == nil || !slices.ContainsFunc(pods, func(pod core.PodTemplateSpec) bool { return hasPort(pod, *endpoint.Port) }) {
				fault("PodMonitor %s: no pod that it selects has the port of its endpoint", monitor.Name)
			}
		}
	}
	for _, network := range c.policies {
		if len(c.selected(network.Spec.PodSelector.MatchLabels)) == 0 {
			fault("NetworkPolicy %s selects no pod", network.Name)
		}
		for _, rule := range network.Spec.Ingress {
			for _, peer := range rule.From {
				if peer.PodSelector != nil && len(c.selected(peer.PodSelector.MatchLabels)) == 0 {
					fault("NetworkPolicy %s lets in no pod", network.Name)
				}
			}
		}
		for _, rule := range network.Spec.Egress {
			for _, peer := range rule.To {
				if peer.PodSelector != nil && len(c.selected(peer.PodSelector.MatchLabels)) == 0 {
					fault("NetworkPolicy %s leads to no pod", network.Name)
				}
			}
		}
	}
	for _, budget := range c.budgets {
		if len(c.selected(budget.Spec.Selector.MatchLabels)) == 0 {
			fault("PodDisruptionBudget %s selects no pod", budget.Name)
		}
	}
	for _, pod := range c.pods {
		c.podFaults(pod, fault)
	}
	return faults
}

func (c *cluster) podFaults(pod core.PodTemplateSpec, fault func(string, ...any)) {
	var volumes []string
	for _, volume := range pod.Spec.Volumes {
		volumes = append(volumes, volume.Name)
		if secret := volume.Secret; secret != nil && !slices.Contains(c.names, "Secret/"+secret.SecretName) {
			fault("volume %s: there is no Secret %s", volume.Name, secret.SecretName)
		}
		if values := volume.ConfigMap; values != nil && !slices.Contains(c.names, "ConfigMap/"+values.Name) {
			fault("volume %s: there is no ConfigMap %s", volume.Name, values.Name)
		}
	}
	for _, container := range pod.Spec.Containers {
		for _, mount := range container.VolumeMounts {
			if !slices.Contains(volumes, mount.Name) {
				fault("container %s: there is no volume %s", container.Name, mount.Name)
			}
		}
		for _, probe := range []*core.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
			if probe != nil && probe.HTTPGet != nil && !hasPort(pod, probe.HTTPGet.Port.StrVal) {
				fault("container %s: a probe's port %s is not there", container.Name, probe.HTTPGet.Port.StrVal)
			}
		}
	}
}

// selected are the pods that have all of the labels.
func (c *cluster) selected(labels map[string]string) (pods []core.PodTemplateSpec) {
	for _, pod := range c.pods {
		all := len(labels) > 0
		for name, value := range labels {
			all = all && pod.Labels[name] == value
		}
		if all {
			pods = append(pods, pod)
		}
	}
	return pods
}

func hasPort(pod core.PodTemplateSpec, name string) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(container core.Container) bool {
		return slices.ContainsFunc(container.Ports, func(port core.ContainerPort) bool { return port.Name == name })
	})
}

// ours are the manifests of deploy/kubernetes.
func ours(t *testing.T) *cluster {
	t.Helper()
	c := new(cluster)
	for _, name := range []string{"nats-callout.yaml", "nats-callout-secret.yaml", "nats-networkpolicy.yaml"} {
		text, err := os.ReadFile(kubernetes + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.add(string(text)); err != nil {
			t.Errorf("cannot read the manifest %s: %v", name, err)
		}
	}
	return c
}

// The manifests have only fields of their types, and a wrong manifest is found.
func TestManifestsAreOfTheirTypes(t *testing.T) {
	c := ours(t)
	if len(c.pods) != 1 || len(c.monitors) != 2 || len(c.policies) != 2 || len(c.budgets) != 1 {
		t.Errorf("expected a deployment, two monitors, two policies and a budget; found %v", c.names)
	}
	for _, wrong := range []string{
		"apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nspec: {podMetricEndpoints: []}",
		"apiVersion: v1\nkind: Service\nspec: {ports: [{port: high}]}",
		"apiVersion: v1\nkind: Secret\nkind: Secret",
	} {
		if new(cluster).add(wrong) == nil {
			t.Errorf("the wrong manifest %q was accepted", wrong)
		}
	}
}

// TestChart renders the chart with each of the settings that operators turn on, together with our manifests. The chart is no
// part of this repository.
func TestChart(t *testing.T) {
	chart, err := filepath.Abs("../../.cache/nats-chart")
	if err != nil {
		t.Fatal(err)
	}
	const helm = "../../.cache/bin/helm"
	for _, file := range []string{helm, chart} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("there is no %s (hint: scripts/test tools)", file)
		}
	}
	for _, settings := range []string{
		"reloader.enabled=true", "reloader.enabled=false", "promExporter.enabled=false", "config.cluster.enabled=false",
		"config.jetstream.enabled=false", "promExporter.podMonitor.enabled=true",
		"config.websocket.enabled=true,config.leafnodes.enabled=true,config.mqtt.enabled=true,config.gateway.enabled=true",
	} {
		t.Run(settings, func(t *testing.T) {
			out, err := exec.Command(helm, "template", "nats", chart, "-f", kubernetes+"values.yaml", "--set", settings).Output()
			if err != nil {
				t.Fatalf("helm cannot render the chart: %v", err)
			}
			c := ours(t)
			if err := c.add(string(out)); err != nil {
				t.Error(err)
			}
			for _, fault := range c.faults() {
				t.Error(fault)
			}
		})
	}
}
