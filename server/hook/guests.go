package hook

import (
	"errors"
	"fmt"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout"
)

// checkGuests refuses a no_auth_user that would take connections which the handler knows.
func checkGuests(o *natsserver.Options, cfg *callout.Config) error {
	return errors.Join(cfg.CheckGuests(o.NoAuthUser, o.Websocket.NoAuthUser, o.MQTT.NoAuthUser), checkMQTTGuests(o, cfg))
}

// checkMQTTGuests refuses a no_auth_user that would take pages which use MQTT over a websocket. The server makes a guest of
// whoever presents nothing in CONNECT, before it asks the handler, and a cookie is not a part of MQTT's CONNECT.
func checkMQTTGuests(o *natsserver.Options, cfg *callout.Config) error {
	m, name := &o.MQTT, ""
	switch {
	case m.Port == 0 || o.Websocket.Port == 0 || o.Websocket.TokenCookie == "" || !cfg.AcceptsCookies():
	case m.NoAuthUser != "":
		name = "mqtt.no_auth_user"
	case o.NoAuthUser != "" && m.Username == "" && m.Token == "": // upstream, mqttConfigAuth
		name = "no_auth_user"
	}
	if name == "" {
		return nil
	}
	return fmt.Errorf("callout: %s would make a guest of a page that brings the cookie of websocket.token_cookie over MQTT\nhint: take no_auth_user out, and let guests in by a session source of kind anonymous", name)
}
