// A service worker that asks for the worker's script itself, and looks into the answer. Where the browser can
// have the network race a service worker (Chromium's static routing), both may be one request.
addEventListener("install", (e) => {
  skipWaiting();
  if (location.search !== "?race" || !e.addRoutes) return;
  e.addRoutes([{ condition: { urlPattern: new URLPattern({ pathname: "/auth/worker.js" }) }, source: "race-network-and-fetch-handler" }]);
});
addEventListener("activate", (e) => e.waitUntil(clients.claim()));
addEventListener("fetch", (e) => {
  if (!e.request.url.includes("/auth/worker.js")) return;
  e.respondWith((async () => {
    const answer = await fetch(e.request);
    const text = await answer.clone().text();
    for (const client of await clients.matchAll({ includeUncontrolled: true })) client.postMessage({ status: answer.status, text });
    return answer;
  })());
});
