// Command nats-callout answers auth callouts of NATS servers (ADR-26): it looks up the session of a
// browser's cookie or of a token, and decides the account, the permissions and the headers of the
// connection. Several of these processes can share the work as a queue group. Stamp's nats-server
// contains the same handler. The other commands help with both.
//
// Exit codes: 0 is success. 1 is a failure, or a refusal that try shows. 2 is wrong arguments.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/alecthomas/kong"
	mangokong "github.com/alecthomas/mango-kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"stamp/internal/conf"
	"stamp/internal/release"
	"stamp/internal/stdlog"
)

const program = "nats-callout"

type commands struct {
	Serve       serveCommand       `cmd:"" default:"withargs" help:"answer callouts; SIGHUP reloads, SIGTERM answers what was taken and ends (the default: nats-callout -c FILE)"`
	Check       checkCommand       `cmd:"" help:"check a configuration: report faults, and warn of settings that are allowed but risky"`
	Try         tryCommand         `cmd:"" help:"dry run: what a connection with this credential would get; secrets are masked"`
	Keys        keysCommand        `cmd:"" help:"make the handler's keys, and show what belongs in the configurations"`
	Session     sessionCommand     `cmd:"" help:"create, list, show and revoke sessions in a key-value bucket"`
	Connections connectionsCommand `cmd:"" help:"renew and close live connections on all servers, as a user of the system account"`
	Proof       proofCommand       `cmd:"" help:"check what a message proves"`
	Status      statusCommand      `cmd:"" help:"show which servers run Stamp, which handlers are subscribed, and the state of those that --handler names"`
	Decode      decodeCommand      `cmd:"" help:"show a user JWT as JSON, with the values of its headers masked"`
	Version     versionCommand     `cmd:"" help:"show the version"`

	Completion kongcompletion.Completion `cmd:"" help:"show how a shell completes commands and flags with the tab key (bash, zsh, fish)"`

	VersionFlag kong.VersionFlag  `name:"version" help:"show the version"`
	Man         mangokong.ManFlag `help:"write the manual page; to read it: nats-callout --man | man -l -"`
}

func main() {
	stdlog.Guard()
	os.Exit(run(os.Args[1:], &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// run is main with its inputs and outputs as parameters. It returns the exit code.
func run(args []string, s *streams) int {
	var c commands
	parser, err := kong.New(&c, kong.Name(program), kong.Writers(s.out, s.err),
		kong.Description("Answers the auth callouts of NATS: finds the session of a connection, and returns a user JWT with headers."),
		kong.Vars{"version": versionText()})
	if err != nil {
		panic(err) // the struct above has a fault
	}
	kongcompletion.Register(parser)
	command, err := parser.Parse(args)
	if err != nil {
		return report(s.err, usage(unechoed(err, args, parser.Model.Node), "nats-callout --help shows commands and flags"))
	}
	return report(s.err, command.Run(s))
}

// Errors of the library about the value of a flag.
var (
	noValue     = regexp.MustCompile(`^(--\S+): (?:expected \S+ value but got "EOL" \(<EOL>\)|missing value, .*)$`)
	notDuration = regexp.MustCompile(`^(--\S+): expected duration `)
)

// unechoed replaces an unknown argument in an error by its position, because it may be a secret that
// was meant for a flag. If the argument is almost the name of a command, it names that command. The value of a flag is
// not repeated either.
func unechoed(err error, args []string, commands *kong.Node) error {
	text := err.Error()
	if flag := noValue.FindStringSubmatch(text); flag != nil {
		return fmt.Errorf("%s: expected a value after it; found nothing", flag[1])
	}
	if flag := notDuration.FindStringSubmatch(text); flag != nil {
		return fmt.Errorf("%s: expected a duration with the units s, m or h, such as 24h; found another text", flag[1])
	}
	argument, ok := strings.CutPrefix(text, "unexpected argument ")
	if !ok || strings.Contains(argument, ", did you mean ") {
		return err
	}
	i := slices.Index(args, argument)
	if i < 0 {
		return errors.New("unexpected argument, which is not shown because it may be a secret")
	}
	command, what := commandOf(args[:i], commands), "unexpected argument"
	if len(command.Children) > 0 {
		what = "unknown command"
	}
	text = fmt.Sprintf("%s: word %d after %s, which is not shown because it may be a secret", what, i+1, program)
	if like := commandLike(argument, command); like != "" {
		return fmt.Errorf("%s; did you mean %q?", text, like)
	}
	if takesConfig(command) && !slices.Contains(args[:i], "-c") && !slices.Contains(args[:i], "--config") {
		text += "; name the configuration with -c FILE"
	}
	return errors.New(text)
}

// commandOf returns the command, or the group of commands, that the words name.
func commandOf(words []string, command *kong.Node) *kong.Node {
	for _, word := range words {
		for _, child := range command.Children {
			if child.Name == word {
				command = child
				break
			}
		}
	}
	return command
}

// takesConfig reports whether a command has the flag --config.
func takesConfig(command *kong.Node) bool {
	return command.Type == kong.CommandNode && slices.ContainsFunc(command.Flags, func(f *kong.Flag) bool { return f.Name == "config" })
}

// maxTypos is how many letters of a command may be wrong, missing or too many.
const maxTypos = 2

// commandLike returns the name of the command of a group that an argument resembles most, or nothing.
func commandLike(argument string, group *kong.Node) string {
	best, typos := "", maxTypos+1
	for _, child := range group.Children {
		if n := levenshtein.ComputeDistance(argument, child.Name); n < typos && n < len(child.Name)-1 {
			best, typos = child.Name, n
		}
	}
	return best
}

type versionCommand struct{}

func (*versionCommand) Run(s *streams) error {
	_, err := fmt.Fprintln(s.out, versionText())
	return err
}

func versionText() string { return program + ": v" + release.Version }

// advised is an error with a hint for the user.
type advised struct {
	error
	hint  string
	usage bool // the arguments are wrong
}

func (a *advised) Unwrap() error { return a.error }

func hint(err error, text string) error  { return &advised{error: err, hint: text} }
func usage(err error, text string) error { return &advised{err, text, true} }

// errSaid is returned when the reasons of a failure have already been written.
var errSaid = errors.New("failed")

// report writes an error, if there is one, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var a *advised
	isAdvised := errors.As(err, &a)
	if found := faults(err); len(found) > 0 {
		for _, f := range found {
			fmt.Fprintln(w, f)
		}
		err = fmt.Errorf("configuration is not valid: %d %s", len(found), plural(len(found), "fault"))
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintf(w, "%s: %v\n", program, err)
	}
	if !isAdvised {
		return 1
	}
	if a.hint != "" {
		fmt.Fprintf(w, "hint: %s\n", a.hint)
	}
	if a.usage {
		return 2
	}
	return 1
}

// faults returns the faults of a configuration that err consists of.
func faults(err error) []*conf.Fault {
	switch e := err.(type) {
	case *conf.Fault:
		return []*conf.Fault{e}
	case interface{ Unwrap() []error }:
		var out []*conf.Fault
		for _, one := range e.Unwrap() {
			out = append(out, faults(one)...)
		}
		return out
	case interface{ Unwrap() error }:
		return faults(e.Unwrap())
	}
	return nil
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
