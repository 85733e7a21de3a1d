// The smallest app IKOMA can look after: it answers, says when it is well, and leaves politely.
const { createServer } = require("node:http");

const port = Number(process.env.PORT || 3000);

const server = createServer((request, response) => {
  if (request.url === "/health") {
    response.writeHead(200, { "content-type": "application/json" }).end('{"status":"ok"}\n');
  } else {
    response.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end("Hello from IKOMA 👋\n");
  }
});

server.listen(port, () => console.log(`Listening on port ${port}`));

// Requests that have begun are answered before the process ends.
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
