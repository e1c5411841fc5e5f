{{- define "vault-files-csi.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vault-files-csi.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "vault-files-csi.fullname" .) -}}
{{- end -}}

{{- define "vault-files-csi.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vault-files-csi.labels" -}}
{{ include "vault-files-csi.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "vault-files-csi.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Flags of the plugin, spelled as in src/core/settings/settings.ts; what is left at the plugin's own default is not passed. */}}
{{- define "vault-files-csi.args" -}}
- --endpoint=unix:///csi/csi.sock
- --kubelet-endpoint={{ .Values.kubelet.rootDir }}/plugins/{{ .Values.csiDriver.name }}/csi.sock
- --registration-socket=/registration/{{ .Values.csiDriver.name }}-reg.sock
- --driver-name={{ .Values.csiDriver.name }}
{{- with .Values.startupTaint }}
- --remove-startup-taint={{ . }}
{{- end }}
- --state-dir={{ .Values.stateDir }}
- --imports=kube
{{- with .Values.vault.address }}
- --vault-addr={{ . }}
{{- end }}
- --vault-auth-path={{ .Values.vault.authPath }}
{{- with .Values.vault.namespace }}
- --vault-namespace={{ . }}
{{- end }}
{{- if .Values.vault.caCert.configMap }}
- --vault-ca-cert=/vault-ca/{{ .Values.vault.caCert.key }}
{{- end }}
{{- if .Values.vault.skipVerify }}
- --vault-skip-verify
{{- end }}
- --vault-qps={{ .Values.vault.qps | int }}
- --vault-concurrency={{ .Values.vault.concurrency | int }}
- --rotation-interval={{ .Values.rotationInterval }}
- --min-refresh-interval={{ .Values.minRefreshInterval }}
- --max-volume-bytes={{ .Values.maxVolumeSize }}
- --max-node-bytes={{ .Values.maxNodeSize }}
{{- with .Values.maxNamespaceSize }}
- --max-namespace-bytes={{ . }}
{{- end }}
{{- range .Values.allow.addresses }}
- {{ printf "--allow-address=%s" . | quote }}
{{- end }}
{{- if .Values.allow.http }}
- --allow-http
{{- end }}
{{- if .Values.allow.skipVerify }}
- --allow-skip-verify
{{- end }}
{{- if .Values.allow.tokenExport }}
- --allow-token-export
{{- end }}
{{- if .Values.secretSync.enabled }}
- --allow-secret-sync
{{- end }}
- {{ printf "--http-addr=%s:%d" .Values.http.host (.Values.http.port | int) | quote }}
{{- if .Values.http.tls.secretName }}
- --http-tls-cert=/http-tls/tls.crt
- --http-tls-key=/http-tls/tls.key
{{- with .Values.http.tls.clientCaKey }}
- --http-client-ca=/http-tls/{{ . }}
{{- end }}
{{- end }}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* kubelet has no client certificate: with a client CA it can see no more than the open port. */}}
{{- define "vault-files-csi.probe" -}}
{{- $http := .context.Values.http -}}
{{- if and $http.tls.secretName $http.tls.clientCaKey -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http
  {{- if $http.tls.secretName }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
{{- end -}}
