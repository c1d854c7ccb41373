// Package peer is what the Go stacks share: the line protocol of benchmarks/worker.py, the protocol of
// benchmarks/stacks/base.py and the workloads of benchmarks/workloads.py.
package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Stream is a bidirectional stream; Close ends the sending side.
type Stream interface {
	io.ReadWriteCloser
}

// Conn is a connection or session.
type Conn interface {
	Open(context.Context) (Stream, error)
	Accept(context.Context) (Stream, error)
	SendDatagram([]byte) error
	ReceiveDatagram(context.Context) ([]byte, error)
	Close()
}

// Stack is an implementation.
type Stack struct {
	Module string
	// Serve listens on a free port, gives it to ready and calls handle for every connection.
	Serve func(certificate tls.Certificate, ready func(port int), handle func(Conn)) error
	Dial  func(port int) (Conn, error)
}

const (
	streams    = 100
	inFlight   = 100
	payload    = 100
	datagram   = 1000
	handshakes = 4
	chunk      = 1 << 16
)

var zeros = make([]byte, chunk)

// Main runs the role that the arguments name.
func Main(stack Stack) {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "server":
		err = server(stack, os.Args[2], os.Args[3])
	case len(os.Args) == 3 && os.Args[1] == "client":
		err = client(stack, os.Args[2])
	default:
		err = errors.New("usage: server CERTFILE KEYFILE | client PORT")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func say(values map[string]any) {
	line, err := json.Marshal(values)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(line, '\n'))
}

func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version[1:]
			}
		}
	}
	return "unknown"
}

func server(stack Stack, certfile, keyfile string) error {
	certificate, err := tls.LoadX509KeyPair(certfile, keyfile)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	ready := func(port int) { say(map[string]any{"port": port, "version": version(stack.Module)}) }
	go func() { failed <- stack.Serve(certificate, ready, handle) }()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		failed <- nil
	}()
	return <-failed
}

// counter is a server's count of datagrams, and the Unix time of the last in nanoseconds.
type counter struct{ count, last atomic.Int64 }

func handle(conn Conn) {
	var received counter
	go func() {
		for {
			if _, err := conn.ReceiveDatagram(context.Background()); err != nil {
				return
			}
			received.count.Add(1)
			received.last.Store(time.Now().UnixNano())
		}
	}()
	for {
		stream, err := conn.Accept(context.Background())
		if err != nil {
			return
		}
		go answer(stream, &received)
	}
}

func answer(stream Stream, received *counter) {
	defer stream.Close()
	var head [9]byte
	if _, err := io.ReadFull(stream, head[:1]); err != nil {
		return
	}
	switch head[0] {
	case 'U':
		count, _ := discard(stream)
		stream.Write(binary.BigEndian.AppendUint64(nil, uint64(count)))
	case 'D':
		if _, err := io.ReadFull(stream, head[1:]); err == nil {
			send(stream, int(binary.BigEndian.Uint64(head[1:])))
		}
	case 'C':
		out := binary.BigEndian.AppendUint64(nil, uint64(received.count.Load()))
		stream.Write(binary.BigEndian.AppendUint64(out, uint64(received.last.Load())))
	case 'E':
		if data, err := io.ReadAll(stream); err == nil {
			stream.Write(data)
		}
	}
}

func discard(stream Stream) (count int, err error) {
	buffer := make([]byte, chunk)
	for {
		n, err := stream.Read(buffer)
		count += n
		if err == io.EOF {
			return count, nil
		}
		if err != nil {
			return count, err
		}
	}
}

func send(stream Stream, size int) error {
	for size > 0 {
		n, err := stream.Write(zeros[:min(size, chunk)])
		if err != nil {
			return err
		}
		size -= n
	}
	return nil
}

func client(stack Stack, portText string) error {
	var port int
	if _, err := fmt.Sscan(portText, &port); err != nil {
		return err
	}
	conn, err := stack.Dial(port)
	if err != nil {
		return err
	}
	say(map[string]any{"version": version(stack.Module)})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var name string
		var amount int
		if _, err := fmt.Sscan(lines.Text(), &name, &amount); err != nil {
			return err
		}
		start := time.Now()
		done, end, err := work(stack, conn, port, name, amount)
		if err != nil {
			say(map[string]any{"error": err.Error()})
			continue
		}
		if end.IsZero() {
			end = time.Now()
		}
		say(map[string]any{"done": done, "seconds": end.Sub(start).Seconds()})
	}
	return nil
}

// held are the connections of the memory workload.
var held sync.Map

func work(stack Stack, conn Conn, port int, name string, amount int) (int, time.Time, error) {
	var end time.Time
	var done int
	var err error
	switch name {
	case "upload":
		done, err = upload(conn, amount)
	case "download":
		done, err = download(conn, amount)
	case "streams":
		var total atomic.Int64
		err = each(streams, streams, func() error {
			count, err := upload(conn, amount/streams)
			total.Add(int64(count))
			return err
		})
		done = int(total.Load())
	case "requests":
		done, err = amount, each(amount, inFlight, func() error { return echo(conn) })
	case "sequential":
		done, err = amount, each(amount, 1, func() error { return echo(conn) })
	case "datagrams":
		done, end, err = datagrams(conn, amount)
	case "handshakes":
		done, err = amount, each(amount, handshakes, func() error {
			other, err := stack.Dial(port)
			if err == nil {
				other.Close()
			}
			return err
		})
	case "memory":
		done, err = amount, each(amount, 10, func() error {
			other, err := stack.Dial(port)
			held.Store(other, true)
			return err
		})
	default:
		err = fmt.Errorf("no workload %q", name)
	}
	return done, end, err
}

// each calls function so many times, with at most so many calls at once.
func each(amount, atOnce int, function func() error) error {
	var left atomic.Int64
	left.Store(int64(amount))
	failed := make(chan error, atOnce)
	for range atOnce {
		go func() {
			for left.Add(-1) >= 0 {
				if err := function(); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var err error
	for range atOnce {
		err = errors.Join(err, <-failed)
	}
	return err
}

func upload(conn Conn, size int) (int, error) {
	stream, err := conn.Open(context.Background())
	if err != nil {
		return 0, err
	}
	if _, err := stream.Write([]byte{'U'}); err != nil {
		return 0, err
	}
	if err := send(stream, size); err != nil {
		return 0, err
	}
	stream.Close()
	count, err := io.ReadAll(stream)
	if err != nil || len(count) != 8 {
		return 0, fmt.Errorf("%d bytes for an answer, %w", len(count), err)
	}
	return int(binary.BigEndian.Uint64(count)), nil
}

func download(conn Conn, size int) (int, error) {
	stream, err := conn.Open(context.Background())
	if err != nil {
		return 0, err
	}
	stream.Write(binary.BigEndian.AppendUint64([]byte{'D'}, uint64(size)))
	stream.Close()
	return discard(stream)
}

func exchange(conn Conn, data []byte) ([]byte, error) {
	stream, err := conn.Open(context.Background())
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write(data); err != nil {
		return nil, err
	}
	stream.Close()
	return io.ReadAll(stream)
}

func echo(conn Conn) error {
	data := make([]byte, payload+1)
	data[0] = 'E'
	back, err := exchange(conn, data)
	if err == nil && len(back) != payload {
		err = errors.New("an echo of another size")
	}
	return err
}

func arrived(conn Conn) (int, time.Time, error) {
	answer, err := exchange(conn, []byte{'C'})
	if err != nil || len(answer) != 16 {
		return 0, time.Time{}, fmt.Errorf("%d bytes for an answer, %w", len(answer), err)
	}
	last := time.Unix(0, int64(binary.BigEndian.Uint64(answer[8:])))
	return int(binary.BigEndian.Uint64(answer)), last, nil
}

func datagrams(conn Conn, amount int) (int, time.Time, error) {
	before, _, err := arrived(conn)
	if err != nil {
		return 0, time.Time{}, err
	}
	for range amount {
		if err := conn.SendDatagram(zeros[:datagram]); err != nil {
			return 0, time.Time{}, err
		}
	}
	count, last, err := arrived(conn)
	for err == nil {
		time.Sleep(50 * time.Millisecond)
		was := count
		if count, last, err = arrived(conn); count == was {
			break
		}
	}
	return count - before, last, err
}
