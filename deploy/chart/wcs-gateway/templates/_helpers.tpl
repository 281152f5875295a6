{{- define "wcs-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* 50 characters, so that -dashboard and the pods' suffixes fit. */}}
{{- define "wcs-gateway.fullname" -}}
{{- $name := include "wcs-gateway.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wcs-gateway.selector" -}}
app.kubernetes.io/name: {{ include "wcs-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wcs-gateway.labels" -}}
{{ include "wcs-gateway.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: wcs-gateway
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "wcs-gateway.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* The members of an object's metadata: (dict "root" $ "suffix" "-internal" "name" … "labels" … "annotations" …). */}}
{{- define "wcs-gateway.metadata" -}}
{{- $labels := include "wcs-gateway.labels" .root | fromYaml -}}
{{- $annotations := merge (dict) (.annotations | default dict) .root.Values.commonAnnotations -}}
name: {{ .name | default (printf "%s%s" (include "wcs-gateway.fullname" .root) (.suffix | default "")) }}
{{- with .root.Values.namespaceOverride }}
namespace: {{ . }}
{{- end }}
labels: {{- toYaml (merge (dict) (.labels | default dict) $labels) | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "wcs-gateway.configMap" -}}
{{- .Values.existingConfigMap | default (include "wcs-gateway.fullname" .) -}}
{{- end -}}

{{- define "wcs-gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "wcs-gateway.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "wcs-gateway.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is required: no image is published. Push one, for example with make image IMAGE=registry.example/wcs-gateway:1.0.0 BUILDX=--push" -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a duration as the gateway reads them (1m30s), with a fraction. */}}
{{- define "wcs-gateway.seconds" -}}
{{- $total := 0.0 -}}
{{- range $part := regexFindAll "[0-9.]+[a-zµ]+" . -1 -}}
{{- $number := regexFind "[0-9.]+" $part | float64 -}}
{{- $unit := regexFind "[a-zµ]+" $part -}}
{{- $total = addf $total (mulf $number (get (dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 "us" 0.000001 "µs" 0.000001 "ns" 0.000000001) $unit)) -}}
{{- end -}}
{{- $total -}}
{{- end -}}

{{/* preStop's sleep in seconds: drain.notice rounded up, 0 where there is no preStop. */}}
{{- define "wcs-gateway.preStop" -}}
{{- if and .Values.preStop (semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version) -}}
{{- include "wcs-gateway.seconds" .Values.config.drain.notice | float64 | ceil | int -}}
{{- else -}}
0
{{- end -}}
{{- end -}}

{{/* notice + window + 2 × pace + handover + 10 s, and a second because preStop's sleep is rounded up. */}}
{{- define "wcs-gateway.gracePeriod" -}}
{{- $d := .Values.config.drain -}}
{{- $pace := include "wcs-gateway.seconds" $d.pace | float64 -}}
{{- $total := addf (include "wcs-gateway.seconds" $d.notice | float64) (include "wcs-gateway.seconds" $d.window | float64) $pace $pace (include "wcs-gateway.seconds" $d.handover | float64) 11.0 -}}
{{- $total | ceil | int -}}
{{- end -}}

{{/* The gateway's configuration: .Values.config with what the chart sets. */}}
{{- define "wcs-gateway.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $listen := dict "public" (ternary ":8080" "" .Values.listeners.ws) "internal" ":9090" -}}
{{- if .Values.tls.secretName -}}
{{- $_ := merge $listen (dict "secure" ":8443" "tls" (dict "cert" "/run/secrets/tls/tls.crt" "key" "/run/secrets/tls/tls.key")) -}}
{{- end -}}
{{- $_ := set $config "listen" (merge $listen ($config.listen | default dict)) -}}
{{- if ne (include "wcs-gateway.preStop" .) "0" -}}
{{- $_ := set $config.drain "notice" "0s" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The part of the configuration that a running pod does not reload: its checksum rolls the pods. */}}
{{- define "wcs-gateway.rollConfig" -}}
{{- $config := include "wcs-gateway.config" . | fromYaml -}}
{{- if .Values.liveReload -}}
{{- $config = omit $config "applications" "limits" -}}
{{- $_ := set $config "listen" (omit $config.listen "origins") -}}
{{- $_ := set $config "log" (omit ($config.log | default dict) "level") -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "wcs-gateway.ownSecrets" -}}
{{- range $name, $secret := .Values.secrets }}
{{- if hasKey $secret "value" }}
{{ $name }}: {{ $secret.value | b64enc }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Variables for the secrets that the chart configures itself, by name. */}}
{{- define "wcs-gateway.knownSecrets" -}}
livekit-api-secret: WCS_LIVEKIT_APISECRET_FILE
redis-password: WCS_REDIS_PASSWORD_FILE
redis-sentinel-password: WCS_REDIS_SENTINELPASSWORD_FILE
pull-secret: WCS_PULL_SECRET_FILE
{{- end -}}

{{/* The same of workers. */}}
{{- define "wcs-gateway.knownPullSecrets" -}}
livekit-api-secret: WCS_PULL_LIVEKIT_APISECRET_FILE
redis-password: WCS_PULL_REDIS_PASSWORD_FILE
redis-sentinel-password: WCS_PULL_REDIS_SENTINELPASSWORD_FILE
pull-secret: WCS_PULL_SECRET_FILE
{{- end -}}

{{/* The secrets of workers: their own, and the one that they share with the gateways. */}}
{{- define "wcs-gateway.pullSecrets" -}}
{{- merge (deepCopy .Values.pull.secrets) (pick .Values.secrets "pull-secret") | toYaml -}}
{{- end -}}

{{- define "wcs-gateway.ownPullSecrets" -}}
{{- range $name, $secret := .Values.pull.secrets }}
{{- if hasKey $secret "value" }}
{{ $name }}: {{ $secret.value | b64enc }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Not the gateway's name, so that no selector of the gateway matches workers. */}}
{{- define "wcs-gateway.pullSelector" -}}
app.kubernetes.io/name: {{ include "wcs-gateway.name" . }}-pull
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wcs-gateway.pullLabels" -}}
{{ include "wcs-gateway.pullSelector" . }}
app.kubernetes.io/component: pull
app.kubernetes.io/version: {{ .Values.pull.image.tag | default .Chart.AppVersion | quote }}
{{- end -}}

{{- define "wcs-gateway.pullImage" -}}
{{- with .Values.pull.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The configuration of workers: pull.config, with the gateways' deployment, Redis (without its user) and LiveKit. */}}
{{- define "wcs-gateway.pullConfig" -}}
{{- $config := deepCopy .Values.pull.config -}}
{{- $shared := dict "redis" (omit .Values.config.redis "username" "password" "sentinelUsername" "sentinelPassword") "livekit" (pick .Values.config.livekit "url") -}}
{{- with .Values.config.deployment -}}
{{- $_ := set $shared "deployment" . -}}
{{- end -}}
{{- toYaml (merge (dict "listen" ":9091") $config (deepCopy $shared)) -}}
{{- end -}}

{{/* Fails for the first secret in the configuration that is a plain value, not {file: …}: (dict "at" path "value" value). */}}
{{- define "wcs-gateway.noSecrets" -}}
{{- $at := .at -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $named := or (regexMatch "(?i)(secret|password|token)$" $key) (regexMatch "\\.(webhookKeys|users)$" $at) -}}
{{- if and $named (not (kindIs "map" $value)) $value -}}
{{- fail (printf "%s.%s would be in a ConfigMap: add an entry to secrets and write {file: /run/secrets/wcs/NAME} here" $at $key) -}}
{{- end -}}
{{- include "wcs-gateway.noSecrets" (dict "at" (printf "%s.%s" $at $key) "value" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $i, $value := .value -}}
{{- include "wcs-gateway.noSecrets" (dict "at" (printf "%s[%d]" $at $i) "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Faults that a schema cannot find. */}}
{{- define "wcs-gateway.check" -}}
{{- include "wcs-gateway.noSecrets" (dict "at" "config" "value" .Values.config) -}}
{{- range $key := list "public" "secure" "tls" "internal" -}}
{{- if hasKey ($.Values.config.listen | default dict) $key -}}
{{- fail (printf "config.listen.%s is set by the chart: use listeners, tls and service" $key) -}}
{{- end -}}
{{- end -}}
{{- if not (or .Values.listeners.ws .Values.tls.secretName) -}}
{{- fail "listeners.ws is false and tls.secretName is empty: clients could not connect" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.listeners.ws) -}}
{{- fail "ingress.enabled needs listeners.ws: TLS ends at the Ingress" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.listeners.ws) -}}
{{- fail "httpRoute.enabled needs listeners.ws: TLS ends at the Gateway" -}}
{{- end -}}
{{- if .Values.pull.enabled -}}
{{- include "wcs-gateway.noSecrets" (dict "at" "pull.config" "value" .Values.pull.config) -}}
{{- if not .Values.pull.image.repository -}}
{{- fail "pull.image.repository is required: no image is published. Push one, for example with make image-pull IMAGE=registry.example/wcs-pull:1.0.0 BUILDX=--push" -}}
{{- end -}}
{{- if not (hasKey .Values.secrets "pull-secret") -}}
{{- fail "pull.enabled needs secrets.pull-secret, which gateways and workers share" -}}
{{- end -}}
{{- if not (hasKey .Values.pull.secrets "livekit-api-secret") -}}
{{- fail "pull.enabled needs pull.secrets.livekit-api-secret, that of pull.config.livekit.apiKey" -}}
{{- end -}}
{{- if not (dig "livekit" "apiKey" "" .Values.pull.config) -}}
{{- fail "pull.enabled needs pull.config.livekit.apiKey: workers have a key of their own" -}}
{{- end -}}
{{- with .Values.pull.autoscaling -}}
{{- if and .enabled (not .pullsPerPod) (not .targetCPU) -}}
{{- fail "pull.autoscaling.enabled needs pull.autoscaling.pullsPerPod or pull.autoscaling.targetCPU" -}}
{{- end -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail "pull.autoscaling.minReplicas is greater than pull.autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.sessionsPerPod) (not .Values.autoscaling.targetCPU) -}}
{{- fail "autoscaling.enabled needs autoscaling.sessionsPerPod or autoscaling.targetCPU" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is greater than autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}
