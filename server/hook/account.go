package hook

import natsserver "github.com/nats-io/nats-server/v2/server"

// AccountUpdate implements natsserver.Extension.
func (h *Hook) AccountUpdate(s *natsserver.Server, account, oldJWT, newJWT string) error { return nil }
