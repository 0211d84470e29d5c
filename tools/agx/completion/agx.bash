# shellcheck shell=bash
# Completion of agx(1) for bash.

_agx_commands='demo start add stop cancel live listen history info group chat run messages bridge ls version'
_agx_globals='--url --prefix --format --color --verbose --help'

_agx_options() {
    case $1 in
        demo) echo "--fast" ;;
        start) echo "--lease --take-over --origin" ;;
        add) echo "--type --origin --body --lines --lease --quiet" ;;
        stop) echo "--grace" ;;
        listen) echo "--after --wait --timeout --limit --where --skip --end --pretty --json" ;;
        history) echo "--after --before --count --reverse --where --skip --pretty --json" ;;
        info) echo "--pretty --json" ;;
        group) echo "--group --consumer --from --count --block --pending --idle --retries --limit" \
            "--timeout --dead-letters --replay --delete --all --force --pretty --json" ;;
        chat) echo "--model --system --timeout --grace --pretty --json" ;;
        run) echo "--feed --grace --save --quiet" ;;
        messages) echo "--nodes --title" ;;
        bridge) echo "--skip --stop --append --grace --wait --timeout" ;;
        ls) echo "--json" ;;
    esac
}

_agx_values() {
    case $1 in
        --color) echo "auto always never" ;;
        --after) [[ $2 == history ]] || echo "new" ;;
        --from) echo "new" ;;
        --wait | --timeout | --block) echo "never" ;;
        --feed) echo "openai-chat openai-responses anthropic" ;;
        --type) echo "event info error" ;;
        --format) echo "agx openai-agents agent-framework ag2" ;;
        --url) echo "redis:// rediss:// unix:///" ;;
    esac
}

_agx_takes_value() {
    case $1 in
        --url | --prefix | --color | --lease | --origin | --grace | --type | --body | --after | \
            --before | --wait | --timeout | --limit | --count | --where | --format | --model | --system | \
            --feed | --group | --consumer | --from | --block | --idle | --retries | \
            --dead-letters) return 0 ;;
    esac
    return 1
}

_agx() {
    local -a words store candidates=()
    local cur word command='' action='' value_of='' i
    # Bash also splits at "=" and ":", which are part of URLs and sessions: take the line itself.
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    if [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]]; then words+=(""); fi
    cur=${words[-1]}
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ -n $value_of ]]; then
            [[ $value_of == --url || $value_of == --prefix ]] && store+=("$value_of=$word")
            value_of=''
        elif _agx_takes_value "$word"; then
            value_of=$word
        elif [[ $word == --url=* || $word == --prefix=* ]]; then
            store+=("$word")
        elif [[ $word != -* && -z $command ]]; then
            command=$word
        elif [[ $word != -* && -z $action ]]; then
            action=$word
        fi
    done

    if [[ -z $value_of && $cur == --*=* ]]; then
        for word in $(_agx_values "${cur%%=*}" "$command"); do candidates+=("${cur%%=*}=$word"); done
    elif [[ -n $value_of ]]; then
        read -ra candidates <<<"$(_agx_values "$value_of" "$command")"
    elif [[ $cur == -* && ! $cur =~ ^-[0-9] ]]; then
        read -ra candidates <<<"$(_agx_options "$command") $_agx_globals"
    elif [[ -z $command ]]; then
        read -ra candidates <<<"$_agx_commands"
    elif [[ $command == group && -z $action ]]; then
        read -ra candidates <<<"read ack claim pending info process dlq delete"
    elif [[ $command == @(start|add|stop|cancel|live|listen|history|info|group|chat|run|messages) ]]; then
        # A store that does not answer must not hold up the shell.
        mapfile -t candidates < <(timeout 2 "${words[0]}" "${store[@]}" ls 2>/dev/null </dev/null)
    fi

    # What readline replaces begins after the last of its own breaks.
    local replaced=${COMP_WORDS[COMP_CWORD]}
    [[ $replaced == [:=] ]] && replaced=''
    local kept=${cur%"$replaced"}
    COMPREPLY=()
    for word in "${candidates[@]}"; do
        [[ $word == "$cur"* ]] || continue
        COMPREPLY+=("$(printf '%q' "${word#"$kept"}")")
    done
    # A URL goes on after its slashes.
    [[ ${COMPREPLY[0]-} == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _agx agx
