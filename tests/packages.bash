# The Debian packages that tests and benchmarks need; meant to be sourced.

# By the command that each is wanted for: add lines like [redis-server]=redis-server.
declare -A debian_packages=(
    [etcd]=etcd-server
)

# install_packages PACKAGE...: all of them, in one go; nothing if there are none.
install_packages() {
    (($# > 0)) || return 0
    local install=(apt-get install -qq -y --no-install-recommends "$@")
    if ((EUID != 0)); then
        echo "missing, and only root can install them: ${install[*]}" >&2
        return 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${install[@]}"
}

# install_commands COMMAND...: the packages of those that are missing, so that a machine that has it
# all needs neither root nor network.
install_commands() {
    local command missing=()
    for command in "$@"; do
        command -v "$command" >/dev/null || missing+=("${debian_packages[$command]}")
    done
    install_packages "${missing[@]}"
}
