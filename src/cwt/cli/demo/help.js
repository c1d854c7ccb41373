// Why a browser refused, as far as it can be known from here.

const agent = navigator.userAgent;
const browser = /firefox/i.test(agent) ? "Firefox" : /chrom(e|ium)|edg/i.test(agent) ? "Chrome" : /safari/i.test(agent) ? "Safari" : "this browser";

const noWebTransport = {
  Firefox: "Firefox has it since version 114. In about:config, network.webtransport.enabled must be true.",
  Chrome: "Chrome and Edge have it since version 97. A company policy or --disable-quic may have switched it off.",
  Safari: "Safari has it since version 26.4: update, or take another browser.",
  "this browser": "Take a current Chrome, Edge, Firefox or Safari.",
};

const tunnel = "If this page came through ssh -L: that forwards TCP only, WebTransport needs UDP.";

// Before there is an attempt: what makes it pointless. Null when nothing does.
export function obstacle(status) {
  const port = location.port ? `:${location.port}` : "";
  if (!isSecureContext) return {
    title: "This page may not use WebTransport here",
    text: `Browsers allow it to pages that come by https or from the same machine. This one came from ${location.host} by http.`,
    steps: [`On the machine of the demo, open http://127.0.0.1${port}/.`],
  };
  if (typeof WebTransport === "undefined") return {
    title: `${browser} has no WebTransport`,
    text: "The page loaded, but the interface it needs is not there.",
    steps: [noWebTransport[browser]],
  };
  if (status && Date.now() / 1000 > status.expires) return {
    title: "The certificate has expired",
    text: "Certificates accepted by their hash are valid for two weeks at most.",
    steps: ["Stop the demo and start it again: it makes a new one.", "Check the clock of this machine."],
  };
  return null;
}

export const gone = {
  title: "The demo does not answer",
  text: "Neither the session nor the page’s own server is there any more: the program has ended.",
  steps: ["Start it again: cwt demo", "Then press Connect; the page takes up the new certificate by itself."],
};

// After an attempt that failed. `seen` is what the server noticed of it: nothing, a connection, a session.
export function diagnosis(error, seen, attempts, port) {
  const told = `${error?.name ?? "Error"}: ${error?.message ?? error}`;
  if (error?.name === "NotSupportedError") return {
    title: `${browser} does not take a certificate by its hash`,
    text: "The demo’s certificate is self-signed; the page vouches for it with its hash.",
    steps: ["Take a current Chrome, Edge or Firefox for the demo.", "In your own project, serve a certificate that the system trusts."],
    told,
  };
  if (seen === "nothing") return {
    title: "Nothing arrived at the server",
    text: "The server runs, this page came from the same program, but no QUIC packet reached it: something keeps UDP from passing.",
    steps: [
      "Look for a firewall, VPN or proxy that lets TCP pass but not UDP.",
      `If the demo runs in a container, publish its port for UDP: -p ${port}:${port}/udp.`,
      tunnel,
      browser === "Chrome" ? "Chrome sends no QUIC with --disable-quic or the policy QuicAllowed = false." : "A proxy set for all protocols keeps QUIC from leaving.",
    ],
    told,
  };
  const slow = browser === "Chrome" && attempts > 3
    ? ["Chrome makes a page wait longer after each failure. Close this tab and open the page in a new one."] : [];
  if (seen === "session") return {
    title: "The server said no",
    text: "The connection came about, and the request for a session was rejected.",
    steps: ["See what the program printed.", "Reload this page: it may be older than the server.", ...slow],
    told,
  };
  return {
    title: `${browser} refused the server`,
    text: "The server saw the connection begin, and then the browser gave it up. Most often it did not like the certificate.",
    steps: [
      "Reload this page, so that it has the hash of the certificate that is in use now.",
      "Check the clock of this machine: the certificate is valid for thirteen days, beginning with the demo’s start.",
      "Does something between here and the server answer in its place? Security software does that at times.",
      ...slow,
    ],
    told,
  };
}
