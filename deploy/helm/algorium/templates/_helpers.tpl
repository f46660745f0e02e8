{{- define "algorium.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "algorium.selector" -}}
app.kubernetes.io/name: algorium
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "algorium.labels" -}}
{{ include "algorium.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
