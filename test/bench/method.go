package main

// method is the last section of the report.
const method = `## Method

- Stock is the pinned nats-server module without the patches. Both servers are built with the same Go and
  the same flags (CGO_ENABLED=0, -trimpath, -buildvcs=false), have the same configuration but for the users'
  ` + "`headers`" + `, and run at the same time on the loopback interface. They are started anew in each round.
- A round measures every row once: all cases of a row one after the other in random order, and the rows in
  random order. A ratio is of two cases of one row and round.
- CPU time is the server process' own, user and system, from the kernel's clock of that process. It is read when
  every subscriber has all bytes, the publisher its PONG, and the server has become idle.
- The publisher writes messages that were encoded beforehand, in chunks of about 256 KiB (at least one message).
  The subscribers count bytes and throw them away; a missing byte fails the run. A quarter as many messages
  go before each measurement, and are compared: a stamped message is the one that the client's headers make.
- max_payload is 8 MB. All connections are TCP without TLS, authenticated with user and password.
- "1 header" is a session id of 32 characters; "4 headers" are that, a user, roles, and a bearer token;
  "2 sent" are a content type and a request id. The blocks have %d, %d and, with both, %d bytes.
- "not stamped" is above 1 for 64 KiB and more without subscriber, by about 5 microseconds: each such message is
  an allocation of stock's, the collector runs once in 4 MB of them when a server holds nothing else, and its work
  on what our binary has at start (620 KB, stock's 506 KB) takes 0.17 ms longer. A server with connections
  and streams has a heap beside which that is nothing.
- A header of the client's own that is to be kept is checked before, which takes about 20 ns: with dozens of them
  a stamped message is dearer than at stock, which looks at none.
- The studies are measured in the same way, with servers of their own. A stamp is nothing but work on bytes
  before a message is routed; so leafnodes, routes and gateways, whose other end gets it as any message, have
  no study.
- Memory is asked for when all connections have been idle for no longer than it takes to collect the garbage.
- ` + "`scripts/bench-code`" + ` compares the Go benchmarks of the stamp and claim packages with those of an earlier
  commit, by turns in one run; test/bench/baseline has a run of them, in benchstat's form.

Not measured: TLS, clusters, consumers of JetStream, ` + "`subjects`" + ` in a claim, and machines with more CPUs.
`
