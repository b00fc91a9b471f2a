// Runs in a frame that has an origin of its own, and tries to open a websocket to the server.
"use strict";
const socket = new WebSocket(`ws://${location.host}/nats`);
const tell = (opened) => parent.postMessage({ opened }, "*");
socket.onopen = () => { socket.close(); tell(true); };
socket.onerror = () => tell(false);
