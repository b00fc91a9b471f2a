# shellcheck shell=bash
# Part of scripts/test-upstream: divides upstream's tests into groups.

# groups prints a line for each group, with these fields:
#   name
#   *, if it is run by default; otherwise -
#   time limit of a process; a test that hangs ends with its process
#   package
#   files without _test.go, separated by commas; - for all
#   pattern of test names
#   pattern of names to leave out, because another group has them
# The longest of the default groups come first, so that at the end several are still running at the same time. Each test of
# the packages is in exactly one group; --all checks that.
groups() {
	cat <<'EOF'
jwt        * 8m  server jwt,jetstream_jwt            ^Test
mqtt       * 6m  server mqtt,mqtt_ex_test            ^Test
leafnode   * 6m  server leafnode,leafnode_proxy      ^Test
trace      * 4m  server msgtrace                     ^Test
reload     * 4m  server reload                       ^Test
monitor    * 4m  server monitor,events               ^Test
headers    * 8m  server jetstream,jetstream_batching,jetstream_versioning ^TestJetStream.*(Header|Batch|TTL|Schedul|Counter|DirectGet|Direct[A-Z]|Rollup|Republish|MsgId|Dedup)
client     * 6m  server client,client_proxyproto,closed_conns,ping ^Test
accounts   * 4m  server accounts                     ^Test
callout    * 4m  server auth_callout                 ^Test
websocket  * 4m  server websocket                    ^Test
interceptor * 4m server interceptor,extension        ^Test
config     * 4m  server opts,config_check            ^Test
auth       * 4m  server auth,nkey,trust              ^Test
parser     * 4m  server parser,split                 ^Test
gateway    - 6m  server gateway                      ^Test
routes     - 6m  server routes                       ^Test
server     - 6m  server server,errors,log,signal,util,sublist,subject_transform,dirstore,feature_flags,ipqueue,ring,rate_counter,service ^Test
raft       - 20m server raft                         ^Test
store      - 30m server filestore,memstore,store     ^Test
consumer   - 20m server jetstream_consumer           ^Test
jsleaf     - 6m  server jetstream_leafnode           ^Test
jetstream  - 40m server jetstream,jetstream_batching,jetstream_versioning,jetstream_errors,jetstream_sourcing_scaling ^Test ^TestJetStream.*(Header|Batch|TTL|Schedul|Counter|DirectGet|Direct[A-Z]|Rollup|Republish|MsgId|Dedup)
cluster1   - 40m server jetstream_cluster_1          ^Test
cluster2   - 40m server jetstream_cluster_2          ^Test
cluster3   - 40m server jetstream_cluster_3          ^Test
cluster4   - 40m server jetstream_cluster_4          ^Test
super      - 30m server jetstream_super_cluster      ^Test
norace1    - 60m server norace_1                     ^Test
norace2    - 60m server norace_2                     ^Test
test       - 20m test   -                            ^Test
conf       - 4m  conf   -                            ^Test
ldap       - 4m  internal/ldap -                     ^Test
logger     - 4m  logger -                            ^Test
archive    - 4m  server/archive -                    ^Test
ats        - 4m  server/ats -                        ^Test
avl        - 4m  server/avl -                        ^Test
certidp    - 4m  server/certidp -                    ^Test
gsl        - 4m  server/gsl -                        ^Test
pse        - 4m  server/pse -                        ^Test
stree      - 4m  server/stree -                      ^Test
thw        - 4m  server/thw -                        ^Test
EOF
}
