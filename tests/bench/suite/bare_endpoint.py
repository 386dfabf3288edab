"""A bare FastAPI endpoint that only parses the body, served as the API is: what single requests are compared with."""

import os

import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Tell that it answers."""
    return {"status": "ok"}


@app.post("/v1/events", status_code=202)
async def post_event(request: Request) -> dict[str, int]:
    """Parse the body, and forget it."""
    await request.json()
    return {"accepted": 1}


if __name__ == "__main__":
    uvicorn.run(
        app,
        host=os.environ["SSPP_HOST"],
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
    )
