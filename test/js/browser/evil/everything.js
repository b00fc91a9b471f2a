// A service worker as many sites have it: it answers all requests by fetch.
addEventListener("install", () => skipWaiting());
addEventListener("activate", (e) => e.waitUntil(clients.claim()));
addEventListener("fetch", (e) => {
  if (location.search === "?exempt" && new URL(e.request.url).pathname.startsWith("/auth/")) return;
  e.respondWith(fetch(e.request));
});
