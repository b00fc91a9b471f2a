package ops

import (
	"fmt"
	"io"
	"log/slog"
)

// Logger returns a logger that writes one line to w for each record of the level or
// above it. The format is "text" (key=value pairs) or "json" (an object); the level
// is "debug", "info", "warn" or "error".
func Logger(w io.Writer, format, level string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var lowest slog.Level
	if err := lowest.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level: expected debug, info, warn or error; found %q", level)
	}
	options.Level = lowest
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, fmt.Errorf("log format: expected text or json; found %q", format)
}
