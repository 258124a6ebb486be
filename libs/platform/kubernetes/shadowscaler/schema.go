package shadowscaler

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/foreshadow/foreshadow/libs/workload"
)

// Group, Version and Kind of the resource, and its plural.
const (
	Group   = "foreshadow.dev"
	Version = "v1alpha1"
	Kind    = "ShadowScaler"
	Plural  = "shadowscalers"
)

var (
	workloadType = reflect.TypeFor[workload.Workload]()
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[workload.Secret]()
)

// enums are the values of some keys, by their type or their path.
var enums = map[string][]any{
	"guardrails.mode":             {"dry_run", "approve", "automatic"},
	"guardrails.otherControllers": {"refuse", "serve"},
	"policy.kind":                 {"predictive", "reactive"},
	"production.platform":         {"kubernetes"},
	"shadow.platform":             {"kubernetes"},
}

// camel is the key of the resource for one of the configuration file.
func camel(key string) string {
	parts := strings.Split(key, "_")
	for i := 1; i < len(parts); i++ {
		parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
	}
	return strings.Join(parts, "")
}

// fields are the keys of a struct in the resource.
func fields(t reflect.Type) map[string]reflect.StructField {
	out := map[string]reflect.StructField{}
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.Type == secretType || t == workloadType && key == "name" || key == "-" {
			continue
		}
		if options == "inline" {
			for k, v := range fields(f.Type) {
				out[k] = v
			}
			continue
		}
		out[camel(key)] = f
	}
	return out
}

// schemaOf is the OpenAPI schema of a type; path is where it stands in the spec.
func schemaOf(t reflect.Type, path string) map[string]any {
	if t == durationType {
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`}
	}
	switch t.Kind() {
	case reflect.Struct:
		properties := map[string]any{}
		for key, f := range fields(t) {
			properties[key] = schemaOf(f.Type, strings.TrimPrefix(path+"."+key, "."))
		}
		return map[string]any{"type": "object", "properties": properties}
	case reflect.String:
		s := map[string]any{"type": "string"}
		if values, known := enums[path]; known {
			s["enum"] = values
		}
		return s
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number", "minimum": 0}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer", "format": "int64", "minimum": 0}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), path), "maxItems": 1000}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), path)}
	case reflect.Pointer:
		return schemaOf(t.Elem(), path)
	default:
		panic(fmt.Sprintf("workload has a %s at %s, which a resource cannot", t, path)) // a fault of the program
	}
}

// Definition is the CustomResourceDefinition.
func Definition() map[string]any {
	spec := schemaOf(workloadType, "")
	spec["required"] = []any{"slo", "production", "shadow"}
	column := func(name, kind, path string) map[string]any {
		return map[string]any{"name": name, "type": kind, "jsonPath": path}
	}
	wide := column("Reason", "string", ".status.recommendation.reason")
	wide["priority"] = 1
	text, whole := map[string]any{"type": "string"}, map[string]any{"type": "integer", "format": "int64"}
	status := map[string]any{"type": "object", "properties": map[string]any{
		"observedGeneration": whole,
		"desired":            whole, "ready": whole,
		"recommendation": map[string]any{"type": "object", "properties": map[string]any{
			"id": text, "instances": whole, "policy": text, "reason": text, "expireTime": map[string]any{"type": "string", "format": "date-time"},
		}},
		"conditions": map[string]any{
			"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": []any{"type"},
			"items": map[string]any{
				"type": "object", "required": []any{"type", "status", "reason", "message", "lastTransitionTime"},
				"properties": map[string]any{
					"type": text, "reason": text, "message": text, "observedGeneration": whole,
					"status":             map[string]any{"type": "string", "enum": []any{"True", "False", "Unknown"}},
					"lastTransitionTime": map[string]any{"type": "string", "format": "date-time"},
				},
			},
		},
	}}
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": Plural + "." + Group},
		"spec": map[string]any{
			"group": Group, "scope": "Namespaced",
			"names": map[string]any{"kind": Kind, "plural": Plural, "singular": "shadowscaler", "shortNames": []any{"sscaler"}, "listKind": Kind + "List"},
			"versions": []any{map[string]any{
				"name": Version, "served": true, "storage": true,
				"subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "required": []any{"spec"},
					"description": "A service that Foreshadow scales. The keys are those of a workload in the configuration file, in camelCase.",
					"properties":  map[string]any{"spec": spec, "status": status},
				}},
				"additionalPrinterColumns": []any{
					column("Mode", "string", ".spec.guardrails.mode"), column("Desired", "integer", ".status.desired"),
					column("Ready", "integer", ".status.ready"), column("Recommended", "integer", ".status.recommendation.instances"),
					column("Valid", "string", `.status.conditions[?(@.type=="Valid")].status`), wide,
					column("Age", "date", ".metadata.creationTimestamp"),
				},
			}},
		},
	}
}
