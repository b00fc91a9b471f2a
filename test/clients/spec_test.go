// Package clients runs a suite for MQTT brokers; it is a module of its own since only this needs it.
package clients

import (
	"testing"
	"time"

	"github.com/256dpi/gomqtt/spec"
)

// The distinction of a leading slash is the one thing that nats-server's mapping of topics to
// subjects cannot hold; authentication is left to our own tests.
func TestSpecification(t *testing.T) {
	c := spec.AllFeatures()
	c.URL = "tcp://127.0.0.1:1883"
	c.Authentication = false
	c.ProcessWait = 20 * time.Millisecond
	c.MessageRetainWait = 100 * time.Millisecond
	c.NoMessageWait = 100 * time.Millisecond
	spec.Run(t, c)
}
