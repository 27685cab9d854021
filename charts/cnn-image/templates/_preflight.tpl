{{/* The pre-flight's Job: the Triton that would serve, with the resources and configuration it would have, loads the
     version named in CNN_IMAGE_PREFLIGHT_VERSION out of users' sight, and is asked for known images. */}}
{{- define "cnn-image.preflight" -}}
{{- $serving := .Values.serving }}{{ $model := include "cnn-image.model" . -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $model }}-preflight
  labels:
    {{- include "cnn-image.selector" (dict "root" $ "component" "preflight") | nindent 4 }}
spec:
  backoffLimit: 0
  activeDeadlineSeconds: 600
  ttlSecondsAfterFinished: 600
  template:
    metadata:
      labels:
        {{- include "cnn-image.selector" (dict "root" $ "component" "preflight") | nindent 8 }}
      annotations: {kubectl.kubernetes.io/default-container: check}
    spec:
      serviceAccountName: {{ $model }}-predictor
      automountServiceAccountToken: false
      enableServiceLinks: false # the Service cnn-image would set CNN_IMAGE_PORT
      restartPolicy: Never
      {{- include "cnn-image.pullSecrets" . | nindent 6 }}
      securityContext:
        {{- include "cnn-image.podSecurity" . | nindent 8 }}
      {{- with $serving.triton.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $serving.triton.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      initContainers:
        - name: fetch
          {{- include "cnn-image.jobContainer" (dict "root" $ "command" (list "python" "-m" "jobs.cluster.preflight" "fetch" "--folder=/work")) | nindent 10 }}
          resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {cpu: "1", memory: 512Mi}}
        - name: triton
          restartPolicy: Always # beside the check, until the pod ends
          image: {{ include "cnn-image.image" (list $ .Values.image.triton) }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          terminationMessagePolicy: FallbackToLogsOnError
          {{- include "cnn-image.tritonCommand" . | nindent 10 }}
          args:
            - --model-repository=/work/version
            - --http-port=8000
            - --allow-grpc=false
            - --allow-metrics=false
            - --exit-on-error=false # a model that does not load is the check's to report, with Triton's reason
            {{- include "cnn-image.tritonArgs" . | nindent 12 }}
          securityContext:
            {{- include "cnn-image.tritonSecurity" . | nindent 12 }}
          resources: {{- toYaml $serving.triton.resources | nindent 12 }}
          startupProbe:
            httpGet: {path: /v2/health/live, port: 8000}
            periodSeconds: 1
            failureThreshold: 240
          volumeMounts:
            - {name: work, mountPath: /work, readOnly: true}
            - {name: tmp, mountPath: /tmp}
            - {name: shm, mountPath: /dev/shm}
      containers:
        - name: check
          {{- include "cnn-image.jobContainer" (dict "root" $ "command" (list "python" "-m" "jobs.cluster.preflight" "check" "--folder=/work")) | nindent 10 }}
          resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {cpu: "1", memory: 512Mi}}
      volumes:
        - {name: work, emptyDir: {}}
        - {name: tmp, emptyDir: {}}
        - {name: shm, emptyDir: {medium: Memory, sizeLimit: 256Mi}}
        {{- with .Values.store.caBundle.configMap }}
        - {name: ca, configMap: {name: {{ . }}}}
        {{- end }}
        {{- with (.Values.mlflow.caBundle).configMap }}
        - {name: mlflow-ca, configMap: {name: {{ . }}}}
        {{- end }}
{{- end }}

{{/* How Triton runs a version, in service and in the pre-flight alike. */}}
{{- define "cnn-image.tritonArgs" -}}
- --model-config-name={{ include "cnn-image.variant" . }}
- --disable-auto-complete-config
{{- end }}

{{/* Triton's HTTP server listens on one family of addresses: on that of the pod's own, which the kubelet and the Services ask. */}}
{{- define "cnn-image.tritonCommand" -}}
command:
  - /bin/sh
  - -c
  - |
    case "$POD_IP" in
    *:*) set -- "$@" "--http-address=ipv6:[::]" "--grpc-address=[::]" "--metrics-address=ipv6:[::]" ;;
    esac
    exec tritonserver "$@"
  - tritonserver
env:
  - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
{{- end }}

{{/* Triton sets the run bit of its Python backend's stub when it starts, so its root cannot be read-only. */}}
{{- define "cnn-image.tritonSecurity" -}}
runAsUser: 1000
allowPrivilegeEscalation: false
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}
