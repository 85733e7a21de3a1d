// An app that answers with its version: at once, after a while, once /told is there, in pieces, over a websocket, and
// for another service.
const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");

const version = fs.readFileSync("/www/version", "utf8").trim();
// What lasts does so for 5 s, or for as many tenths of a second as the query says: /slow?15.
const tenths = (request) => Number(request.url.split("?")[1] || 50);

const server = http.createServer((request, response) => {
  request.resume();
  if (request.url.startsWith("/slow")) {
    setTimeout(() => response.end(`${version} whole\n`), tenths(request) * 100);
  } else if (request.url.startsWith("/pieces")) {
    let left = tenths(request);
    const timer = setInterval(() => {
      response.write(`${version}\n`);
      if (--left === 0) { clearInterval(timer); response.end("whole\n"); }
    }, 100);
  } else if (request.url === "/held") {
    fs.writeFileSync("/tmp/asked", "");
    const timer = setInterval(() => {
      if (fs.existsSync("/told")) { clearInterval(timer); response.end(`${version} whole\n`); }
    }, 50);
  } else if (request.url === "/api") {
    http.get("http://api:3000/version", { timeout: 5000 }, (answer) => {
      response.setHeader("Content-Length", answer.headers["content-length"]);
      answer.pipe(response);
    })
      .on("error", (error) => response.end(`lost: ${error.message}`));
  } else {
    response.end(version);
  }
});

server.on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = crypto.createHash("sha1").update(key).digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  const text = Buffer.from(version);
  let left = tenths(request);
  const timer = setInterval(() => {
    socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
    if (--left === 0) { clearInterval(timer); socket.end(Buffer.from([0x88, 0x00])); }
  }, 100);
  socket.on("error", () => clearInterval(timer));
});

server.listen(3000);
