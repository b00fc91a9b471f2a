# shellcheck shell=bash
# Part of scripts/test-upstream: which of upstream's tests belong together.

# groups: name, * when run by default, the most that one process may take (a test that
# hangs costs that), package, files (comma between, without
# _test.go; - for all), and a pattern of test names. The longest come first, so that
# none of them is left running alone at the end.
groups() {
	cat <<'EOF'
jwt        * 8m  server jwt,jetstream_jwt            ^Test
mqtt       * 6m  server mqtt                         ^TestMQTT
leafnode   * 6m  server leafnode,leafnode_proxy      ^TestLeaf
trace      * 4m  server msgtrace                     ^TestMsgTrace
reload     * 4m  server reload                       ^Test
monitor    * 4m  server monitor,events               ^Test
headers    * 8m  server jetstream,jetstream_batching ^TestJetStream.*(Header|Batch|TTL|Schedul|Counter|DirectGet|Direct[A-Z]|Rollup|Republish|MsgId|Dedup)
client     * 6m  server client,client_proxyproto,closed_conns,ping ^Test
accounts   * 4m  server accounts                     ^Test
callout    * 4m  server auth_callout                 ^TestAuthCallout
websocket  * 4m  server websocket                    ^TestWS
config     * 4m  server opts,config_check            ^Test
auth       * 4m  server auth,nkey,trust              ^Test
parser     * 4m  server parser,split                 ^Test(Parse|Split)
gateway    - 6m  server gateway                      ^TestGateway
routes     - 6m  server routes                       ^Test
server     - 6m  server server,errors,log,signal,util,sublist,subject_transform,dirstore,feature_flags,ipqueue,ring,rate_counter ^Test
consumer   - 20m server jetstream_consumer           ^TestJetStreamConsumer
jsleaf     - 6m  server jetstream_leafnode           ^TestJetStreamLeaf
jetstream  - 40m server jetstream,jetstream_versioning ^TestJetStream
test       - 20m test   -                            ^Test
EOF
}
