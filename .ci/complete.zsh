# What zsh lists when a line is completed: .ci/complete.zsh DIRECTORY LINE, with the functions of that
# directory, in a terminal of its own.
zmodload zsh/zpty
zpty shell "TERM=dumb zsh -f -i"
zpty -w shell "PS1=; fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -D -u; echo ready"
zpty -r shell begun '*ready'$'\r\n''*'
# The first tab completes as far as it is clear, the second lists. The list ends with a line.
zpty -w -n shell "$2"$'\t\t'
until [[ $listed == *$'\a'*$'\n'?*$'\n'* ]]; do
    zpty -r shell part || break
    listed+=$part
done
zpty -d shell
print -r -- "$listed"
