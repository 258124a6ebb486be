{{/* Names and labels. */}}
{{- define "foreshadow.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "foreshadow.selector" -}}
app.kubernetes.io/name: foreshadow
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "foreshadow.labels" -}}
app.kubernetes.io/name: foreshadow
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "foreshadow.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Ports: main is what the service serves, admin its pages for operators. */}}
{{- define "foreshadow.ports" -}}
replicator: {main: 8080, admin: 9101}
shadow-runner: {main: 7002, admin: 9102}
metrics-aggregator: {main: 7003, admin: 9103}
predictor: {main: 7004, admin: 9104}
provisioner: {main: 7005, admin: 9105}
console: {main: 8090, admin: 9106}
{{- end }}

{{/* Pod Security "restricted". */}}
{{- define "foreshadow.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "foreshadow.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The targets on Kubernetes, one a line of JSON: namespace, group, resource, name, write. */}}
{{- define "foreshadow.targets" -}}
{{- $plurals := .Values.rbac.plurals }}
{{- $out := list }}
{{- range $w := .Values.config.workloads }}
{{- range $side := list "production" "shadow" }}
{{- $t := get $w $side | default dict }}
{{- if eq (get $t "platform" | default "") "kubernetes" }}
{{- $k := get $t "kubernetes" }}
{{- $api := get $k "api_version" | default "apps/v1" }}
{{- $kind := get $k "kind" | default "Deployment" }}
{{- $group := "" }}
{{- if contains "/" $api }}{{- $group = first (splitList "/" $api) }}{{- end }}
{{- $out = append $out (dict "namespace" $k.namespace "group" $group "resource" (get $plurals $kind | default (printf "%ss" (lower $kind))) "name" $k.name "copy" (get (get $k "copy" | default dict) "enabled" | default false) "shadow" (eq $side "shadow")) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.rbac.targets }}
{{- $out = append $out (dict "namespace" .namespace "group" (get . "group" | default "apps") "resource" (get . "resource" | default "deployments") "name" .name "shadow" (get . "shadow" | default false)) }}
{{- end }}
{{- toJson $out }}
{{- end }}

{{/* The shadows of which there may be trials, by namespace: their names, as JSON. There are none where production is. */}}
{{- define "foreshadow.trials" -}}
{{- $out := dict }}
{{- $production := dict }}
{{- if .Values.trials.enabled }}
{{- $targets := include "foreshadow.targets" . | fromJsonArray }}
{{- range $targets }}{{- if not .shadow }}{{- $_ := set $production .namespace true }}{{- end }}{{- end }}
{{- range $targets }}
{{- if and .shadow (eq .group "apps") (eq .resource "deployments") (not (hasKey $production .namespace)) }}
{{- $_ := set $out .namespace (append (get $out .namespace | default list) .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $out }}
{{- end }}

{{/* The names that the trials of the given shadows can have, as a flow of YAML. */}}
{{- define "foreshadow.trialNames" -}}
{{- $out := list }}
{{- range . }}{{- $name := . }}
{{- range $n := list 1 2 3 4 5 6 7 8 }}{{- $out = append $out (printf "%s-trial-%d" $name (int $n)) }}{{- end }}
{{- end }}
{{- toJson $out }}
{{- end }}

{{/* The configuration file. What the chart knows better is set over what was given. */}}
{{- define "foreshadow.config" -}}
{{- $name := include "foreshadow.name" . }}
{{- $config := deepCopy .Values.config }}
{{- $kafka := dict "brokers" .Values.kafka.brokers }}
{{- if .Values.kafka.bundled }}{{- $kafka = dict "brokers" (list (printf "%s-kafka:9092" $name)) }}{{- end }}
{{- if .Values.kafka.tls }}{{- $_ := set $kafka "tls" .Values.kafka.tls }}{{- end }}
{{- if .Values.kafka.sasl.secret }}{{- $_ := set $kafka "sasl" (dict "mechanism" .Values.kafka.sasl.mechanism) }}{{- end }}
{{- $_ := set $config "kafka" (mergeOverwrite $kafka (get $config "kafka" | default dict)) }}
{{- if .Values.tls.secret }}
{{- $tls := dict "certificate" "/tls/tls.crt" "key" "/tls/tls.key" "ca" "/tls/ca.crt" }}
{{- $_ := set $config "rpc" (mergeOverwrite (dict "tls" $tls) (get $config "rpc" | default dict)) }}
{{- else }}
{{- $_ := set $config "rpc" (mergeOverwrite (dict "insecure" true) (get $config "rpc" | default dict)) }}
{{- end }}
{{- if .Values.shadowScalers.enabled }}
{{- $_ := set $config "kubernetes" (mergeOverwrite (dict "shadow_scalers" .Release.Namespace) (get $config "kubernetes" | default dict)) }}
{{- end }}
{{- $history := printf "%s-metrics-aggregator:7003" $name }}
{{- $own := dict
  "replicator" (dict "listen" "0.0.0.0:8080" "admin" "0.0.0.0:9101")
  "shadow_runner" (dict "listen" "0.0.0.0:7002" "admin" "0.0.0.0:9102")
  "metrics_aggregator" (dict "listen" "0.0.0.0:7003" "admin" "0.0.0.0:9103")
  "predictor" (dict "listen" "0.0.0.0:7004" "admin" "0.0.0.0:9104" "history" $history)
  "provisioner" (dict "listen" "0.0.0.0:7005" "admin" "0.0.0.0:9105" "history" $history "state_dir" "/state/provisioner" "lease" (dict "name" (printf "%s-provisioner" $name) "namespace" .Release.Namespace))
  "console" (dict "listen" "0.0.0.0:8090" "insecure" (not (get (get $config "console" | default dict) "tls")) "admin" "0.0.0.0:9106" "history" $history "predictor" (printf "%s-predictor:7004" $name) "provisioner" (printf "%s-provisioner:7005" $name) "shadow_runner" (printf "%s-shadow-runner:7002" $name))
}}
{{- if and (eq (include "foreshadow.targets" .) "[]") (not .Values.shadowScalers.enabled) }}{{- $_ := unset (get $own "provisioner") "lease" }}{{- end }}
{{- toYaml (mergeOverwrite $own $config) }}
{{- end }}
