{{/* Metrics name the pod that they come from, and a pod's name its model: `[^-]+` is what its ReplicaSet and it have of chance (in
     one piece where Kubernetes had to cut a long name), so that `a` takes no pod of `a-b` for its own. */}}
{{- define "cnn-image.pods" -}}
pod=~"{{ include "cnn-image.model" . }}-(predictor|transformer)-[^-]+(-[^-]+)?"
{{- end }}

{{/* A text of PromQL in which metrics get a further matcher: list TEXT METRICS MATCHER. */}}
{{- define "cnn-image.matching" -}}
{{- $text := index . 0 }}{{ $metrics := index . 1 }}{{ $matcher := index . 2 }}
{{- $text = regexReplaceAll (printf "(%s)\\{" $metrics) $text (printf "${1}{%s," $matcher) }}
{{- regexReplaceAll (printf "(%s)([^a-z0-9_:{]|$)" $metrics) $text (printf "${1}{%s}${2}" $matcher) }}
{{- end }}

{{/* The rules for this model alone: several may be in one namespace, each with rules of its own. */}}
{{- define "cnn-image.rules" -}}
{{- $root := . }}{{ $model := include "cnn-image.model" . }}
{{- $rules := .Files.Get "files/rules.yaml" | fromYaml }}
{{- range $group := $rules.groups }}
{{- $_ := set $group "name" $model }}
{{- range $rule := $group.rules }}
{{- $expr := $rule.expr | replace "absent(cnn_image_triton_up)" (printf "absent(cnn_image_triton_up{namespace=%q})" $root.Release.Namespace) }}
{{- $expr = include "cnn-image.matching" (list $expr "cnn_image_[a-z0-9_]+" (include "cnn-image.pods" $root)) }}
{{- $expr = include "cnn-image.matching" (list $expr "cnn_image:[a-z0-9_:]+" (printf "model=%q" $model)) }}
{{- $_ := set $rule "expr" $expr }}
{{- $_ := set $rule "labels" (merge (dict "model" $model) ($rule.labels | default dict)) }}
{{- if and (ne $model "cnn-image") $rule.annotations }}
{{- $_ := set $rule.annotations "summary" ($rule.annotations.summary | replace "cnn-image" $model) }}
{{- $said := $rule.annotations.description | replace "isvc cnn-image" (printf "isvc %s" $model) }}
{{- $_ := set $rule.annotations "description" ($said | replace "`cnn-image " (printf "`cnn-image --model %s " $model)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $rules }}
{{- end }}

{{/* The dashboard for this model alone, under a name of its own. */}}
{{- define "cnn-image.dashboard" -}}
{{- $model := include "cnn-image.model" . }}
{{- $text := .Files.Get "files/dashboard.json" }}
{{- range list "\"uid\": \"%s\"" "\"title\": \"%s\"" "model=\\\"%s\\\"" }}
{{- $text = $text | replace (printf . "cnn-image") (printf . $model) }}
{{- end }}
{{- include "cnn-image.matching" (list $text "(?:cnn_image|nv)_[a-z0-9_]+" (include "cnn-image.pods" . | replace "\"" "\\\"")) }}
{{- end }}
