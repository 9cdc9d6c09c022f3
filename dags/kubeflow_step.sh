# One step of a night on Kubeflow: sh -c "$(cat kubeflow_step.sh)" step WORKSPACE NAME TASK COMMAND…
# What there is to do, and what became of it, lies beside the run's workspace, in WORKSPACE.steps.
workspace=$1 name=$2 task=$3 notes=$1.steps
shift 3
todo=$notes/$name.todo failed=$notes/$name.failed.$task
cd "$workspace" || exit 75
[ -e "$todo" ] || { echo "$name: nothing to do."; exit 0; }
# Kubeflow tries every failure again; this one was not temporary.
[ ! -e "$failed" ] || { cat "$failed"; exit 1; }
[ ! -s "$todo" ] || eval "set -- $(cat "$todo")"
. "$notes/environment"
{ "$@" 2>&1; echo $? > "$notes/$name.code"; } | tee "$notes/$name.log"
code=$(cat "$notes/$name.code")
case $code in
  0 | 4) echo "$code" > "$notes/$name.ended"; exit 0 ;;  # 4: the gate was not passed
  75 | 137 | 143) exit "$code" ;;  # an outage, or killed from outside
  *) tail -n 5 "$notes/$name.log" > "$failed"; exit "$code" ;;
esac
