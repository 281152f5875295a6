// Runs the SDK's own REST module against a server: node rest-module.js MODULE URL [CALL ARGUMENT…]. It prints the result of the call as JSON, or
// the status that it was refused with. Of a browser it needs XMLHttpRequest only, which is made here of Node's http.
const http = require('http');

global.XMLHttpRequest = class {
    open(method, uri) {
        this.method = method;
        this.uri = new URL(uri);
        this.headers = {};
    }
    setRequestHeader(name, value) { this.headers[name] = value; }
    send(body) {
        const { hostname, port, pathname, search, username, password } = this.uri;
        const auth = username ? `${username}:${password}` : undefined;
        const request = http.request({ method: this.method, hostname, port, path: pathname + search, headers: this.headers, auth, agent: false }, (answer) => {
            let text = '';
            answer.setEncoding('utf8');
            answer.on('data', (part) => { text += part; });
            answer.on('end', () => {
                Object.assign(this, { status: answer.statusCode, response: text, readyState: 4 });
                this.onload();
                this.onreadystatechange();
            });
        });
        request.on('error', (e) => { throw e; });
        request.end(body);
    }
};

const [module_, url, call, ...args] = process.argv.slice(2);
const [group, method] = call.split('.');
const rest = require(module_).instance(url, url);
rest[group][method](...args.map((a) => JSON.parse(a) ?? undefined)).then(
    (result) => console.log(JSON.stringify(result ?? 'nothing')),
    (refused) => console.log(JSON.stringify({ refused: refused?.status })),
);
