// The worker. Its script begins with a line that the site writes, self.stampSite = {...}; a page
// can reach nothing but the port that it sends first.
import { Server } from "./port.ts";
import { Site, type SiteConfig } from "./site.ts";

const scope = self as unknown as { stampSite?: SiteConfig; onmessage: ((event: MessageEvent) => void) | null };
const config = scope.stampSite;
delete scope.stampSite;
if (!config) throw new Error("the site's line is missing before this script: self.stampSite = {...}");
const site = new Site(config, location.href);

const channel = new BroadcastChannel("stamp");
const servers: Server[] = [];

// Any script of the origin may speak here. So nothing is believed, and it is asked once at a time.
let checking: Promise<unknown> | undefined;
channel.onmessage = () => {
  checking ??= Promise.all(servers.map((server) => server.recheck())).finally(() => {
    checking = undefined;
  });
};

scope.onmessage = ({ ports }) => {
  for (const port of ports) servers.push(new Server(port, site, { tell: () => channel.postMessage("ended") }));
};
