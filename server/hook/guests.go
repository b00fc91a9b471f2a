package hook

import (
	"errors"
	"fmt"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout"
)

// checkGuests refuses a no_auth_user that the server would use for connections with a credential
// of a session source.
func checkGuests(o *natsserver.Options, cfg *callout.Config) error {
	return errors.Join(cfg.CheckGuests(o.NoAuthUser, o.Websocket.NoAuthUser, o.MQTT.NoAuthUser), checkMQTTGuests(o, cfg))
}

// checkMQTTGuests refuses a no_auth_user that the server would use for pages that use MQTT over a
// websocket. If a CONNECT contains no credential, the server uses no_auth_user and does not ask the
// handler, and a CONNECT of MQTT cannot contain a cookie.
func checkMQTTGuests(o *natsserver.Options, cfg *callout.Config) error {
	m, setting := &o.MQTT, ""
	switch {
	case m.Port == 0 || o.Websocket.Port == 0 || o.Websocket.TokenCookie == "" || !cfg.AcceptsCookies():
	case m.NoAuthUser != "":
		setting = "mqtt.no_auth_user"
	case o.NoAuthUser != "" && m.Username == "" && m.Token == "": // upstream, mqttConfigAuth
		setting = "no_auth_user"
	}
	if setting == "" {
		return nil
	}
	return fmt.Errorf("callout: %s would make a guest of a page that brings the cookie of websocket.token_cookie over MQTT\nhint: remove no_auth_user, and admit guests with a session source of kind anonymous", setting)
}
