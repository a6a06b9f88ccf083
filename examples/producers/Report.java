// Report a verification from Java: java Report.java HOST PORT ACCOUNT MESSAGE_ID
// Tell that an OTP was sent: java Report.java HOST PORT ACCOUNT MESSAGE_ID COUNTRY
//
// Java 17 or newer runs this file as it is. An app that has a client for Redis calls its
// jedis.lpush("otpreport." + account, message) or commands.lpush(...) of Lettuce; `write` stands for that. Where it has
// Jackson, ObjectMapper makes the JSON.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.time.Instant;
import java.util.Base64;
import java.util.UUID;

class Report {
    record Verification(String account, String messageId, Instant occurredAt, Instant sentAt) {
        String json() {
            return """
                {"account":%s,"message_id":%s,"occurred_at":"%s","sent_at":%d}"""
                .formatted(quoted(account), quoted(messageId), occurredAt, sentAt.toEpochMilli());
        }
    }

    record Dispatch(String account, String messageId, Instant sentAt, int expiresIn, String country) {
        String json() { // a field that is not listed here is refused, such as a phone number
            return """
                {"account":%s,"message_id":%s,"sent_at":"%s","expires_in":%d,"country":%s}"""
                .formatted(quoted(account), quoted(messageId), sentAt, expiresIn, quoted(country));
        }
    }

    static String reported(Verification event) {
        return message("otpreport.report", "event", event.json());
    }

    static String sent(Dispatch otp) {
        return message("otpreport.sent", "otp", otp.json());
    }

    static String message(String task, String name, String json) {
        String body = "[[],{\"%s\":%s},{}]".formatted(name, json);
        return """
            {"body":"%s","content-type":"application/json","content-encoding":"utf-8",\
            "headers":{"id":"%s","task":"%s"},"properties":{"body_encoding":"base64"}}"""
            .formatted(Base64.getEncoder().encodeToString(body.getBytes(UTF_8)), UUID.randomUUID(), task);
    }

    static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            boolean plain = each >= ' ' && each != '"' && each != '\\';
            json.append(plain ? String.valueOf(each) : "\\u%04x".formatted((int) each));
        }
        return json.append('"').toString();
    }

    static String write(String host, int port, String... words) throws IOException {
        StringBuilder call = new StringBuilder("*" + words.length + "\r\n");
        for (String word : words) {
            call.append("$" + word.getBytes(UTF_8).length + "\r\n" + word + "\r\n");
        }
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(host, port), 1000);
            socket.setSoTimeout(1000); // no answer in time: report it again
            socket.getOutputStream().write(call.toString().getBytes(UTF_8));
            return new BufferedReader(new InputStreamReader(socket.getInputStream(), UTF_8)).readLine();
        }
    }

    public static void main(String[] args) throws IOException {
        Instant now = Instant.now();
        String told = args.length > 4
            ? sent(new Dispatch(args[2], args[3], now, 300, args[4]))
            : reported(new Verification(args[2], args[3], now, now.minusSeconds(20)));
        System.out.println(write(args[0], Integer.parseInt(args[1]), "LPUSH", "otpreport." + args[2], told));
    }
}
