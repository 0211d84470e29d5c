# Completion of agx(1) for fish.

set -l commands demo start add stop cancel live listen history info group chat run messages bridge ls version
set -l of_session start add stop cancel live listen history info group chat run messages

# A store that does not answer must not hold up the shell.
function __agx_sessions
    set -l store
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        switch $words[$i]
            case '--url=*' '--prefix=*'
                set -a store $words[$i]
            case --url --prefix
                set -l next (math $i + 1)
                test $next -le (count $words); and set -a store $words[$i]=$words[$next]
        end
    end
    timeout 2 $words[1] $store ls 2>/dev/null </dev/null
end

complete -c agx -f
complete -c agx -l url -x -a 'redis:// rediss:// unix:///' -d 'The store'
complete -c agx -l prefix -x -d 'First part of every key'
complete -c agx -l format -x -a 'agx openai-agents agent-framework ag2' -d 'Whose streams'
complete -c agx -l color -x -a 'auto always never' -d 'When to use colour'
complete -c agx -l verbose -d 'Say what the library does'
complete -c agx -s h -l help -d 'Show help'

complete -c agx -n "not __fish_seen_subcommand_from $commands" -a demo -d 'Show what this is about'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a start -d 'Begin a session'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a add -d 'Add an event, or many'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a stop -d 'End a session'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a cancel -d 'Cancel a session'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a live -d 'Is a session live?'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a listen -d 'Follow its events'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a history -d 'Show what is in it'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a info -d 'How much is in it'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a group -d 'Share its events'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a chat -d 'Let a model answer'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a run -d 'Run from a model\'s stream'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a bridge -d 'Copy to another format'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a messages -d 'Its conversation'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a ls -d 'List live sessions'
complete -c agx -n "not __fish_seen_subcommand_from $commands" -a version -d 'Show the versions'

complete -c agx -n "__fish_seen_subcommand_from $of_session" -a '(__agx_sessions)' -d Session

complete -c agx -n '__fish_seen_subcommand_from demo' -l fast -d 'Do not pause for the reader'
complete -c agx -n '__fish_seen_subcommand_from start add' -l lease -x -d 'Seconds it stays live'
complete -c agx -n '__fish_seen_subcommand_from start' -l take-over -d 'Even if it is live'
complete -c agx -n '__fish_seen_subcommand_from start add' -l origin -x -d 'Who says so'
complete -c agx -n '__fish_seen_subcommand_from add' -l type -x -a 'event info error' -d 'Kind of event'
complete -c agx -n '__fish_seen_subcommand_from add' -l body -x -d 'JSON, or - for standard input'
complete -c agx -n '__fish_seen_subcommand_from add' -l lines -d 'An event for each line of input'
complete -c agx -n '__fish_seen_subcommand_from add run' -l quiet -d 'Do not print it'
complete -c agx -n '__fish_seen_subcommand_from stop chat run bridge' -l grace -x -d 'Seconds until its events are gone'
complete -c agx -n '__fish_seen_subcommand_from listen' -l after -x -a new -d 'Where to begin'
complete -c agx -n '__fish_seen_subcommand_from listen' -l wait -x -a never -d 'For it to appear'
complete -c agx -n '__fish_seen_subcommand_from listen group chat' -l timeout -x -a never -d 'Of silence'
complete -c agx -n '__fish_seen_subcommand_from history' -l after -x -d 'What came after it'
complete -c agx -n '__fish_seen_subcommand_from history' -l before -x -d 'What came before it'
complete -c agx -n '__fish_seen_subcommand_from history group' -l count -x -d 'At most so many events'
complete -c agx -n '__fish_seen_subcommand_from history' -l reverse -d 'The newest first'
complete -c agx -n '__fish_seen_subcommand_from listen history' -l where -x -d 'Only events that this condition selects'
complete -c agx -n '__fish_seen_subcommand_from listen group' -l limit -x -d 'End after so many events'
complete -c agx -n '__fish_seen_subcommand_from listen' -l end -d 'Show the end event'
complete -c agx -n '__fish_seen_subcommand_from listen history info group chat' -l pretty -d 'For people'
complete -c agx -n '__fish_seen_subcommand_from listen history info group chat ls' -l json -d 'JSON lines'
complete -c agx -n '__fish_seen_subcommand_from group' -a 'read ack claim pending info process dlq delete' -d 'What to do'
complete -c agx -n '__fish_seen_subcommand_from group' -l group -x -d 'The group'
complete -c agx -n '__fish_seen_subcommand_from group' -l consumer -x -d 'Whose turn it is'
complete -c agx -n '__fish_seen_subcommand_from group' -l from -x -a new -d 'Where a new group begins'
complete -c agx -n '__fish_seen_subcommand_from group' -l block -x -a never -d 'Wait for an event'
complete -c agx -n '__fish_seen_subcommand_from group' -l pending -d 'What is pending for it'
complete -c agx -n '__fish_seen_subcommand_from group' -l idle -x -d 'Idle for so long'
complete -c agx -n '__fish_seen_subcommand_from group' -l retries -x -d 'Attempts'
complete -c agx -n '__fish_seen_subcommand_from group' -l dead-letters -x -d 'Where events go that were given up'
complete -c agx -n '__fish_seen_subcommand_from group' -l replay -d 'Put these back'
complete -c agx -n '__fish_seen_subcommand_from group' -l delete -d 'Delete these'
complete -c agx -n '__fish_seen_subcommand_from group' -l all -d 'Replay or delete all'
complete -c agx -n '__fish_seen_subcommand_from group' -l force -d 'Delete what is pending as well'
complete -c agx -n '__fish_seen_subcommand_from chat' -l model -x -d 'Which model answers'
complete -c agx -n '__fish_seen_subcommand_from chat' -l system -x -d 'What it is told first'
complete -c agx -n '__fish_seen_subcommand_from run' -l feed -x -a 'openai-chat openai-responses anthropic' -d 'What stream'
complete -c agx -n '__fish_seen_subcommand_from run' -l save -d 'Append to the conversation'
complete -c agx -n '__fish_seen_subcommand_from messages' -l nodes -d 'Its nodes'
complete -c agx -n '__fish_seen_subcommand_from messages' -l title -d 'Its title'
complete -c agx -n '__fish_seen_subcommand_from listen history bridge' -l skip -d 'Pass over what cannot be read or held'
complete -c agx -n '__fish_seen_subcommand_from bridge' -l stop -d 'End the copy of what is gone'
complete -c agx -n '__fish_seen_subcommand_from bridge' -l append -d 'Copy behind what is there'
complete -c agx -n '__fish_seen_subcommand_from bridge' -l wait -x -a never -d 'Seconds'
complete -c agx -n '__fish_seen_subcommand_from bridge' -l timeout -x -a never -d 'Seconds'
