# Named, timed steps for the scripts of this repository; meant to be sourced.
#
# A step that fails ends the script, which then says which one it was and how long it took.

current_step=
step_started=0

# step NAME COMMAND [ARGUMENT...]
step() {
    current_step=$1
    step_started=$SECONDS
    printf '\n==> %s\n' "$current_step"
    shift
    # Neither in a condition nor in a pipe: there a failing line inside a function would not end it.
    "$@"
    printf '==> %s took %d s\n' "$current_step" $((SECONDS - step_started))
    current_step=
}

report_failed_step() {
    local status=$?
    if ((status != 0)) && [[ -n $current_step ]]; then
        printf '==> %s FAILED (exit %d) after %d s\n' \
            "$current_step" "$status" $((SECONDS - step_started)) >&2
    fi
}
trap report_failed_step EXIT
