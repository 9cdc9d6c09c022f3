# A step in a pod without a volume: sh -c "$(cat kubernetes_step.sh)" step COMMAND…
# The container `storage` waits for the step's exit code, stores what it made, and answers. If one of
# both is killed, the other reads the end of the pipe.
exec 3> .dvc/tmp/ended 4< .dvc/tmp/pushed
"$@" 3>&- 4<&-
code=$?
trap '' PIPE  # storage may be gone, which `read` finds out
echo "$code" >&3
exec 3>&-
case $code in 0 | 4) ;; *) exit "$code" ;; esac
read -r pushed said <&4 || { pushed=75 said="What the step made was not stored: storage was killed."; }
[ "$pushed" = 0 ] && exit "$code"
echo "$said" >&2
exit "$pushed"
